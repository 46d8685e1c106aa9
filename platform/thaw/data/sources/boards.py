"""Boards: the embedded data set, photographs of circuit boards that are drawn rather than stored.

One image carries labels for several tasks: a verdict, the layout family, boxes around the defects and a
mask of the copper. It is a look-alike to try the platform on, not a model of any real production line.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops
from pydantic import Field

from thaw import __version__
from thaw.data.sources import _boards_drawing as drawing
from thaw.data.sources import contract
from thaw.data.sources._boards_drawing import SUPERSAMPLE, VIEW, Artwork, Canvas, Point
from thaw.data.sources.contract import RawBoxes, RawLabel, RawMask, Thing, UnreadBoxes

LAYOUTS = tuple(drawing.LAYOUTS)
"""The board families."""
COPPER = {0: "board", 1: "copper"}
"""What the pixels of the mask ``copper`` mean."""
_GEOMETRY, _DEFECTS, _LOOK = 1, 2, 3  # streams of one image; a change to one leaves the others as they are
_MARGIN = 8.0  # board units that stay free between a defect and the border
_LEAST = 24.0  # square board units that a defect changes at least
_FAR = 14.0  # board units within which traces are neighbours
_RAW = 235  # how much of the solder mask is missing where a defect is, of 255
_TRIES = 12  # places tried for one defect before another kind is drawn
_Box = tuple[int, int, int, int]
_Plant = Callable[[Canvas, Artwork, "_Site", Generator], None]


class Options(contract.SourceOptions):
    """How many boards to draw, and how."""

    type: Literal["boards"]

    images: int = Field(600, ge=1, le=100_000)
    """Number of images."""
    size: int = Field(256, ge=64, le=1024)
    """Side of the square images, in pixels."""
    seed: int = Field(0, ge=0)
    """Another seed is another data set; the first images of a larger one are those of a smaller one."""


@dataclass(frozen=True)
class Board:
    """One drawn image with the labels of every task.

    Attributes:
        image: (H,W,3) uint8.
        verdict: ok or defective.
        layout: one of ``LAYOUTS``.
        boxes: (N,4) float32, xyxy in pixels, around what each defect changed; N is 0 on an ok board.
        kinds: the N names of the defects, from ``DEFECTS``.
        copper: (H,W) uint8, 1 where there is copper and 0 elsewhere; a drilled hole is not copper.
    """

    image: NDArray[np.uint8]
    verdict: str
    layout: str
    boxes: NDArray[np.float32]
    kinds: tuple[str, ...]
    copper: NDArray[np.uint8]


class Source(contract.Source):
    """Draws the image that is asked for; nothing is stored."""

    options: Options

    def references(self) -> Iterator[contract.Reference]:
        """Yield every image with its verdict and layout, and where its defects and copper are; nothing is drawn."""
        for index in range(self.options.images):
            verdict, layout = _labels(self.options.seed, index)
            name = f"board_{index:05d}.jpg"
            later: dict[str, RawLabel] = {"defects": UnreadBoxes(name), "copper": RawMask(name, COPPER)}
            yield contract.Reference(name, {"verdict": verdict, "layout": layout} | later)

    def read(self, image_id: str, most: int = -1) -> bytes:
        """Return one image as JPEG."""
        encoded = io.BytesIO()
        Image.fromarray(self._board(image_id).image).save(encoded, "JPEG", quality=92, subsampling=0)
        encoded.seek(0)
        return encoded.read(most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - an image is drawn with all it carries
        return [__version__] * len(ids)

    def boxes(self, boxes_id: str, width: int, height: int) -> RawBoxes:  # noqa: ARG002 - drawn at their size
        board = self._board(boxes_id)
        return RawBoxes(tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in board.boxes.tolist()), board.kinds)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:  # noqa: ARG002 - as above
        return self._board(mask_id).copper

    def _board(self, name: str) -> Board:
        index = int(name.removeprefix("board_").removesuffix(".jpg"))
        return _drawn(self.options.seed, index, self.options.size)


@lru_cache(maxsize=1)
def _drawn(seed: int, index: int, size: int) -> Board:
    """Draw a board once for its image, its boxes and its mask, which are asked for one after the other."""
    return draw(seed, index, size)


def draw(seed: int, index: int, size: int) -> Board:
    """Return image ``index`` of the data set ``seed``, ``size`` pixels square. Depends on nothing else."""
    verdict, layout = _labels(seed, index)
    return _draw(seed, index, size, layout, verdict)


def _labels(seed: int, index: int) -> tuple[str, str]:
    rng = np.random.default_rng((seed, index))
    return ("ok", "defective")[rng.integers(2)], LAYOUTS[rng.integers(len(LAYOUTS))]


def _draw(seed: int, index: int, size: int, layout: str, verdict: str) -> Board:
    """Draw a board of a given layout and verdict; but for its defects, it is the same for both verdicts."""
    geometry, flaws, look = (np.random.default_rng((seed, index, part)) for part in (_GEOMETRY, _DEFECTS, _LOOK))
    canvas = Canvas(size, geometry.uniform(-5, 5))
    artwork = drawing.LAYOUTS[layout](geometry)
    canvas.etch(artwork)
    canvas.print_labels(geometry)
    found = _damage(canvas, artwork, flaws) if verdict == "defective" else []
    return Board(
        image=drawing.photograph(canvas, look),
        verdict=verdict,
        layout=layout,
        boxes=np.array([box for _, box in found], dtype=np.float32).reshape(-1, 4),
        kinds=tuple(kind for kind, _ in found),
        copper=(np.asarray(canvas.final(canvas.metal())) >= 128).astype(np.uint8),
    )


@dataclass(frozen=True)
class _Site:
    """A place on a trace: where, which way the trace runs (a unit vector) and how wide it is."""

    point: Point
    direction: Point
    width: float

    def beside(self, forward: float, sideways: float) -> Point:
        """Return the point ``forward`` along the trace and ``sideways`` of its middle."""
        (x, y), (dx, dy) = self.point, self.direction
        return x + dx * forward - dy * sideways, y + dy * forward + dx * sideways


def _damage(canvas: Canvas, artwork: Artwork, rng: Generator) -> list[tuple[str, _Box]]:
    """Plant one to three defects; return the kind of each and its box, in final pixels."""
    wanted, sites = int(rng.choice((1, 2, 2, 3, 3))), _sites(artwork)
    found: list[tuple[str, _Box]] = []
    while len(found) < wanted:
        kind = tuple(DEFECTS)[rng.integers(len(DEFECTS))]
        for _ in range(_TRIES):
            plant = partial(DEFECTS[kind], canvas, artwork, sites[rng.integers(len(sites))], rng)
            box = _attempt(canvas, plant, [box for _, box in found])
            if box:
                found.append((kind, box))
                break
    return found


def _sites(artwork: Artwork) -> list[_Site]:
    """Return places along the visible traces: those clear of pads, or all of them if no place is."""
    sites = [
        _Site(point, direction, trace.width)
        for trace in artwork.traces
        for point, direction in drawing.along(trace, 5.0)
        if _inside(point)
    ]
    lands = np.array([(*pad.center, pad.radius) for pad in artwork.pads])
    away = np.array([site.point for site in sites])[:, None] - lands[:, :2]
    clear = (np.hypot(away[..., 0], away[..., 1]) > lands[:, 2] + 6.0).all(1)
    return [sites[at] for at in np.flatnonzero(clear)] or sites


def _inside(point: Point) -> bool:
    return min(point) > _MARGIN and max(point) < VIEW - _MARGIN


def _attempt(canvas: Canvas, plant: Callable[[], None], taken: list[_Box]) -> _Box | None:
    """Plant a defect and return its box; undo it and return None if it shows too little or meets another."""
    copper, holes, before = canvas.copper.copy(), canvas.holes.copy(), canvas.metal()
    plant()
    changed = ImageChops.difference(before, canvas.metal())
    left, top, right, bottom = changed.getbbox() or (0, 0, 0, 0)
    box = left // SUPERSAMPLE, top // SUPERSAMPLE, -(-right // SUPERSAMPLE), -(-bottom // SUPERSAMPLE)
    enough = np.count_nonzero(np.asarray(changed)) >= _LEAST * canvas.scale**2
    if enough and not any(_touch(box, other, gap=3 * canvas.scale) for other in taken):
        canvas.raw.paste(_RAW, mask=changed)
        return box
    canvas.copper, canvas.holes = copper, holes
    return None


def _touch(one: _Box, other: _Box, gap: float) -> bool:
    return all(one[axis] - gap < other[axis + 2] and other[axis] - gap < one[axis + 2] for axis in (0, 1))


def _open(canvas: Canvas, _artwork: Artwork, site: _Site, rng: Generator) -> None:
    """Cut a trace through."""
    reach = rng.uniform(4.5, 8.0)
    canvas.line(canvas.copper, (site.beside(-reach, 0), site.beside(reach, 0)), site.width + 2, ink=0)


def _short(canvas: Canvas, _artwork: Artwork, site: _Site, rng: Generator) -> None:
    """Bridge a trace with the copper beside it."""
    side, width = rng.choice((-1.0, 1.0)), rng.uniform(5.0, 8.0)
    gap = _gap(canvas, site, side)
    if gap < _FAR:
        canvas.line(canvas.copper, (site.point, site.beside(0, side * (site.width / 2 + gap + 1))), width)


def _missing_hole(canvas: Canvas, artwork: Artwork, _site: _Site, rng: Generator) -> None:
    """Leave a pad undrilled."""
    pad = artwork.pads[rng.integers(len(artwork.pads))]
    if _inside(pad.center):
        canvas.disc(canvas.holes, pad.center, pad.hole + 1, ink=0)


def _mouse_bite(canvas: Canvas, _artwork: Artwork, site: _Site, rng: Generator) -> None:
    """Nibble at the edge of a trace."""
    side = rng.choice((-1.0, 1.0))
    canvas.disc(canvas.copper, site.beside(0, side * site.width * 0.8), rng.uniform(0.95, 1.2) * site.width, ink=0)


def _spur(canvas: Canvas, _artwork: Artwork, site: _Site, rng: Generator) -> None:
    """Let copper stick out of a trace, without reaching its neighbour."""
    side, base, lean = rng.choice((-1.0, 1.0)), rng.uniform(3.5, 5.5), rng.uniform(-2, 2)
    reach = min(rng.uniform(5.0, 8.0), _gap(canvas, site, side) - 1.2)
    edge = site.width / 2
    foot = site.beside(-base, 0), site.beside(base, 0)
    tip = site.beside(lean + 1.5, side * (edge + reach)), site.beside(lean - 1.5, side * (edge + reach))
    canvas.polygon(canvas.copper, (*foot, *tip))


def _spurious_copper(canvas: Canvas, _artwork: Artwork, _site: _Site, rng: Generator) -> None:
    """Leave an island of copper where there should be none."""
    (x, y), radius = rng.uniform(_MARGIN, VIEW - _MARGIN, 2).tolist(), rng.uniform(3.5, 6.0)
    if canvas.is_free((x, y), radius + 1.0):
        reach, angles = radius * rng.uniform(0.7, 1.2, 8), np.linspace(0, 2 * np.pi, 8, endpoint=False)
        corners = zip((x + reach * np.cos(angles)).tolist(), (y + reach * np.sin(angles)).tolist(), strict=True)
        canvas.polygon(canvas.copper, tuple(corners))


def _gap(canvas: Canvas, site: _Site, side: float) -> float:
    """Return how far the copper beside a trace is from its edge, at most ``_FAR``."""
    for gap in np.arange(1.5, _FAR, 0.5):
        if canvas.is_copper(site.beside(0, side * (site.width / 2 + float(gap)))):
            return float(gap)
    return _FAR


DEFECTS: Mapping[str, _Plant] = {
    "missing_hole": _missing_hole,
    "mouse_bite": _mouse_bite,
    "open": _open,
    "short": _short,
    "spur": _spur,
    "spurious_copper": _spurious_copper,
}
"""The kinds of defect by name; a kind that does not fit where it is tried draws nothing."""
