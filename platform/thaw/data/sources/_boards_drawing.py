"""Circuit boards as geometry, as drawn layers and as a photograph: what the source ``boards`` is made of.

Lengths are in board units: a picture shows 128 x 128 of them, whatever its size in pixels. Nothing here
knows of defects, verdicts or files.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, cos, hypot, pi, radians, sin, tan

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Floats = NDArray[np.float32]
Point = tuple[float, float]

VIEW = 128.0
"""Side of the visible square, in board units."""
SUPERSAMPLE = 2
"""Layers are drawn at this multiple of the final size and averaged down, which smooths their edges."""
_LOW, _HIGH = -32.0, VIEW + 32.0  # beyond the view, so that a rotated board still fills the picture


@dataclass(frozen=True)
class Trace:
    """A copper line of constant width through ``points``."""

    points: tuple[Point, ...]
    width: float


@dataclass(frozen=True)
class Pad:
    """A round or square copper land, bare of solder mask, around a drilled hole of radius ``hole``."""

    center: Point
    radius: float
    hole: float
    square: bool = False


@dataclass(frozen=True)
class Artwork:
    """The copper of one board."""

    traces: tuple[Trace, ...]
    pads: tuple[Pad, ...]


_RUN = 170.0  # from one row of vias across a bus to the next


def _bus(rng: Generator) -> Artwork:
    """Return wide buses: parallel traces that bend together and are cut by slanted rows of vias."""
    pitch = rng.uniform(11.0, 13.5)
    width, via = pitch * rng.uniform(0.36, 0.44), pitch * 0.44
    slope, bend, shift = rng.choice((-1.0, 1.0)), rng.uniform(40, 140), rng.uniform(25, 70)
    omit, phase, swap = rng.integers(5, 9), rng.integers(0, 9), rng.random() < 0.5
    row, stagger = rng.uniform(0, 150), pitch * rng.choice((-0.9, 0.9))

    def bends(across: float) -> float:
        return float(bend - slope * tan(pi / 8) * (across - VIEW / 2))  # keeps the lanes apart through the bend

    def place(along: float, across: float) -> Point:
        point = along, across + slope * min(max(along - bends(across), 0.0), shift)
        return (point[1], point[0]) if swap else point

    traces, pads = [], []
    for lane in range(int((_HIGH - _LOW + 200) / pitch)):
        if (lane + phase) % omit == 0:
            continue
        across = _LOW - 100 + lane * pitch
        first = (row + lane * stagger - _LOW) % _RUN + _LOW - _RUN
        for cut in np.arange(first, _HIGH, _RUN).tolist():
            begin, end = cut + abs(stagger) * 2, cut + _RUN
            corners = [at for at in (bends(across), bends(across) + shift) if begin < at < end]
            traces.append(Trace(tuple(place(at, across) for at in (begin, *corners, end)), width))
            pads += [Pad(place(at, across), via, via * 0.5) for at in (begin, end)]
    return Artwork(tuple(traces), tuple(pads))


def _grid(rng: Generator) -> Artwork:
    """Return an array of through-hole pads, some joined in pairs through the channel between two rows."""
    pitch, square = rng.uniform(25, 31), rng.random() < 0.3
    radius, width = pitch * rng.uniform(0.26, 0.3), rng.uniform(4.2, 5.4)
    left, top = _LOW + rng.uniform(0, pitch, 2)
    num = ceil((_HIGH - _LOW) / pitch)
    traces = []
    for row in range(num):
        column, channel = int(rng.integers(0, 3)), top + (row + 0.5) * pitch
        while column + 1 < num:
            last = min(column + int(rng.integers(1, 6)), num - 1)
            ends = [(left + at * pitch, top + (row + int(rng.integers(0, 2))) * pitch) for at in (column, last)]
            inner = (ends[0][0] + pitch / 2, channel), (ends[1][0] - pitch / 2, channel)
            traces.append(Trace((ends[0], *inner, ends[1]), width))
            column = last + 1
    pads = [
        Pad((left + x * pitch, top + y * pitch), radius, radius * 0.48, square)
        for x in range(num)
        for y in range(num + 1)
    ]
    return Artwork(tuple(traces), tuple(pads))


def _spiral(rng: Generator) -> Artwork:
    """Return planar coils in square cells, each with a pad at its outer end and one in its centre."""
    cell = rng.uniform(88, 120)
    left, top = _LOW - rng.uniform(0, cell, 2)
    sides, pitch, width = int(rng.choice((4, 8, 32))), rng.uniform(10.5, 12.5), rng.uniform(4.2, 5.2)
    traces, pads = [], []
    for column in range(ceil((_HIGH - left) / cell)):
        for row in range(ceil((_HIGH - top) / cell)):
            center = left + (column + 0.5) * cell, top + (row + 0.5) * cell
            coil = _coil(center, cell / 2 - rng.uniform(9, 11), pitch, sides, rng)
            traces.append(Trace(coil, width))
            pads += [Pad(coil[0], 6.0, 2.9), Pad(coil[-1], 6.0, 2.9)]
    return Artwork(tuple(traces), tuple(pads))


def _coil(center: Point, outer: float, pitch: float, sides: int, rng: Generator) -> tuple[Point, ...]:
    """Return a polygonal spiral from the apothem ``outer`` inwards, which ends in the centre."""
    turns = (outer - 11) / pitch
    start, turn = pi / sides + 2 * pi * int(rng.integers(0, 4)) / 4, rng.choice((-1.0, 1.0))
    points = []
    for step in range(int(turns * sides) + 1):
        radius = (outer - pitch * step / sides) / cos(pi / sides)
        angle = start + turn * 2 * pi * step / sides
        points.append((center[0] + radius * cos(angle), center[1] + radius * sin(angle)))
    return (*points, center)


def _mesh(rng: Generator) -> Artwork:
    """Return freely routed traces: walks over a lattice that never meet, with a via at either end."""
    pitch, width = rng.uniform(12.5, 14.5), rng.uniform(4.2, 5.4)
    num = ceil((_HIGH - _LOW) / pitch)
    free = np.ones((num, num), dtype=bool)
    traces, pads = [], []
    for start in rng.permutation(num * num):
        x, y = divmod(int(start), num)
        walk = _walk(free, (x, y), int(rng.integers(4, 16)), rng) if free[x, y] else []
        if len(walk) > 2:
            points = tuple((_LOW + px * pitch, _LOW + py * pitch) for px, py in walk)
            traces.append(Trace(points, width))
            pads += [Pad(end, pitch * 0.4, pitch * 0.19) for end in (points[0], points[-1])]
    return Artwork(tuple(traces), tuple(pads))


_TURNS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


def _walk(free: NDArray[np.bool_], start: tuple[int, int], steps: int, rng: Generator) -> list[tuple[int, int]]:
    """Walk over free nodes, mostly straight on, and take those nodes. A lone start is left free."""
    walk, heading = [start], int(rng.integers(0, 8))
    for _ in range(steps):
        x, y = walk[-1]
        for turn in rng.permutation((0, 0, 0, 0, 1, -1)):
            dx, dy = _TURNS[(heading + turn) % 8]
            inside = 0 <= x + dx < len(free) and 0 <= y + dy < len(free)
            # a diagonal step needs both nodes beside it, or it could cross another trace
            if inside and free[x + dx, y + dy] and (not dx or not dy or (free[x + dx, y] and free[x, y + dy])):
                free[x, y], heading = False, int(heading + turn) % 8
                walk.append((x + dx, y + dy))
                break
        else:
            break
    free[walk[-1]] = len(walk) == 1
    return walk


LAYOUTS: Mapping[str, Callable[[Generator], Artwork]] = {
    "bus": _bus,
    "grid": _grid,
    "mesh": _mesh,
    "spiral": _spiral,
}
"""The board families by name."""


class Canvas:
    """The layers of one board, as (S,S) grey pictures with S = ``SUPERSAMPLE`` * size.

    ``copper`` is everything etched, ``holes`` everything drilled, ``bare`` the lands that solder mask leaves
    free, ``raw`` where the mask is flawed and ``silk`` the print. The board lies turned by ``angle`` degrees
    around the middle of the view.
    """

    def __init__(self, size: int, angle: float) -> None:
        self.scale = SUPERSAMPLE * size / VIEW
        self._cos, self._sin = cos(radians(angle)), sin(radians(angle))
        self._angle = angle
        self.side = SUPERSAMPLE * size
        self.copper, self.holes, self.bare, self.raw, self.silk = (
            Image.new("L", (self.side, self.side)) for _ in range(5)
        )

    def layers(self) -> tuple[Image.Image, ...]:
        """Return copper, holes, bare, raw and silk."""
        return self.copper, self.holes, self.bare, self.raw, self.silk

    def place(self, point: Point) -> Point:
        """Return where a board point lies on the canvas, in canvas pixels."""
        x, y = point[0] - VIEW / 2, point[1] - VIEW / 2
        turned = self._cos * x - self._sin * y, self._sin * x + self._cos * y
        return (turned[0] + VIEW / 2) * self.scale, (turned[1] + VIEW / 2) * self.scale

    def line(self, layer: Image.Image, points: tuple[Point, ...], width: float, ink: int = 255) -> None:
        """Draw a line through board points."""
        flat = [self.place(point) for point in points]
        ImageDraw.Draw(layer).line(flat, fill=ink, width=max(1, round(width * self.scale)), joint="curve")

    def disc(self, layer: Image.Image, center: Point, radius: float, ink: int = 255) -> None:
        """Fill a circle around a board point."""
        ImageDraw.Draw(layer).circle(self.place(center), radius * self.scale, fill=ink)

    def polygon(self, layer: Image.Image, points: tuple[Point, ...], ink: int = 255) -> None:
        """Fill a polygon of board points."""
        ImageDraw.Draw(layer).polygon([self.place(point) for point in points], fill=ink)

    def etch(self, artwork: Artwork) -> None:
        """Draw the copper, the lands free of solder mask, and the holes."""
        for trace in artwork.traces:
            self.line(self.copper, trace.points, trace.width)
        for pad in artwork.pads:
            if max(abs(at - VIEW / 2) for at in pad.center) > VIEW * 0.55 + pad.radius:
                continue  # out of sight, however the board is turned
            for layer in (self.copper, self.bare):
                self._land(layer, pad)
            self.disc(self.holes, pad.center, pad.hole)

    def print_labels(self, rng: Generator) -> None:
        """Print part outlines and their names in silkscreen."""
        font = ImageFont.load_default(8.0 * self.scale)
        for _ in range(int(rng.integers(2, 5))):
            x, y, width, height = rng.uniform((0, 8, 18, 10), (VIEW - 20, VIEW - 10, 46, 26))
            corners = (x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)
            self.line(self.silk, corners, 1.0, 230)
            text = f"{rng.choice(tuple('RCUQLD'))}{rng.integers(1, 99)}"
            stamp = Image.new("L", (round(26 * self.scale), round(12 * self.scale)))
            ImageDraw.Draw(stamp).text((0, 0), text, fill=255, font=font)
            left, top = self.place((x, y - 11))
            turned = stamp.rotate(-self._angle, Image.Resampling.BILINEAR)
            self.silk.paste(255, (round(left), round(top)), turned)

    def _land(self, layer: Image.Image, pad: Pad) -> None:
        if not pad.square:
            return self.disc(layer, pad.center, pad.radius)
        (x, y), reach = pad.center, pad.radius * 0.9
        corners = (
            (x - reach, y - reach),
            (x + reach, y - reach),
            (x + reach, y + reach),
            (x - reach, y + reach),
        )
        return self.polygon(layer, corners)

    def metal(self) -> Image.Image:
        """Return the copper that is left after drilling, as a layer."""
        return ImageChops.subtract(self.copper, self.holes)

    def is_copper(self, point: Point) -> bool:
        """Whether there is copper at a board point; never outside the view."""
        x, y = (int(at) for at in self.place(point))
        return min(x, y) >= 0 and max(x, y) < self.side and bool(self.copper.getpixel((x, y)))

    def is_free(self, center: Point, reach: float) -> bool:
        """Whether the square of half side ``reach`` around a board point is free of copper."""
        (x, y), far = self.place(center), reach * self.scale
        return self.copper.crop((int(x - far), int(y - far), ceil(x + far), ceil(y + far))).getbbox() is None

    def final(self, layer: Image.Image) -> Image.Image:
        """Return a layer at its final size: how much of each pixel it covers, of 255."""
        return layer.reduce(SUPERSAMPLE)


def along(trace: Trace, step: float) -> Iterator[tuple[Point, Point]]:
    """Yield points on a trace every ``step`` units, each with the unit vector of its direction."""
    for (x, y), (x2, y2) in zip(trace.points, trace.points[1:], strict=False):
        length = hypot(x2 - x, y2 - y)
        dx, dy = ((x2 - x) / length, (y2 - y) / length) if length else (0.0, 0.0)
        for reach in np.arange(step / 2, length, step).tolist():
            yield (x + reach * dx, y + reach * dy), (dx, dy)


Color = tuple[int, int, int]

_MASKS = (
    (20, 92, 50),
    (14, 70, 44),
    (52, 112, 44),
    (22, 58, 116),
    (120, 26, 30),
    (36, 38, 44),
    (84, 40, 104),
)
_FINISHES = ((206, 172, 98), (188, 190, 192), (214, 196, 150))
_LAMINATE, _RAW_COPPER = (206, 190, 140), (226, 118, 70)


def photograph(canvas: Canvas, look: Generator) -> NDArray[np.uint8]:
    """Return the picture a camera takes of the board: (size,size,3) uint8.

    Every draw from ``look`` is independent of what lies on the canvas, so two boards that differ in one
    place are photographed alike everywhere else.
    """
    copper, holes, bare, raw, silk = (canvas.final(layer) for layer in canvas.layers())
    tint = np.array(_MASKS[look.integers(len(_MASKS))]) * look.uniform(0.8, 1.2, 3)
    picture = Image.new("RGB", copper.size, _color(tint))
    picture.paste(_color(tint * look.uniform(1.4, 1.8) + look.uniform(14, 28)), mask=copper)
    picture.paste(_color(np.full(3, look.uniform(190, 225))), mask=silk)
    picture.paste(_FINISHES[look.integers(len(_FINISHES))], mask=bare)
    picture.paste(_color(tint * 0.25), mask=holes)
    picture.paste(_LAMINATE, mask=raw)
    picture.paste(_RAW_COPPER, mask=ImageChops.multiply(raw, copper))
    return _expose(picture, _light(ImageChops.subtract(copper, holes), look), look)


def _color(channels: NDArray[np.float64]) -> Color:
    red, green, blue = channels.clip(0, 255).astype(int).tolist()
    return red, green, blue


def _light(relief: Image.Image, look: Generator) -> Floats:
    """Return the light on each pixel, (S,S) around 1: a slope, a glare, a weave and the edges of copper."""
    x = np.linspace(0, 1, relief.width, dtype=np.float32)
    y = x[:, None]
    slope, spot, reach = look.uniform(-0.3, 0.3, 2), look.uniform(0, 1, 2), look.uniform(0.2, 0.5)
    glare = np.exp(-(((x - spot[0]) / reach) ** 2)) * np.exp(-(((y - spot[1]) / reach) ** 2))
    weave = np.sin(x * look.uniform(150, 260)) * np.sin(y * look.uniform(150, 260))
    light = 0.95 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5)
    light = light + glare * look.uniform(0, 0.3) + weave * look.uniform(0, 0.03)
    height = np.asarray(relief, np.float32)
    edges = (height - np.roll(height, 1, (0, 1))) * np.float32(look.uniform(-0.2, 0.2) / 255)
    lit: Floats = light.astype(np.float32) + edges
    return lit


def _expose(picture: Image.Image, light: Floats, look: Generator) -> NDArray[np.uint8]:
    """Blur, light, tint and add sensor noise, as a small camera does."""
    size = picture.width
    soft = picture.filter(ImageFilter.BoxBlur(look.uniform(0.2, 0.6) * size / 256))
    gain = look.uniform(0.9, 1.1, 3) * look.uniform(0.85, 1.2)
    noise = look.standard_normal((size, size, 3), np.float32) * np.float32(look.uniform(2, 6))
    noise += np.asarray(soft) * (light[..., None] * gain.astype(np.float32))
    return noise.clip(0, 255).astype(np.uint8)
