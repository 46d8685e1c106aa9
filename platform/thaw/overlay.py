"""Overlay: a picture of the answers to one image, for people to look at. No figure is read off it.

Boxes and masks are drawn on the image in the colour of their class; what is said of the image stands in a strip below
it and hides nothing. Widths and letters follow the size of the image, and small images are enlarged until they can be
read.

Of a task's masks the background is left out, so that it stays visible: the class of that name, or else the one that
covers most of the image.
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from thaw.data import rle
from thaw.data.labels import LabelSchema
from thaw.predictor import Answers
from thaw.tasks.contract import Answer, Marks

Colour = tuple[int, int, int]
_Box = tuple[float, float, float, float]

COLOURS: Sequence[Colour] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 255, 255),
)
"""Those of Okabe and Ito, which colour-blind people can tell apart too; white for black, as images are dark."""

BACKGROUND = "background"
"""The class that is never drawn."""
_LETTERS, _SHORTEST = 38, 14  # letters are this share of the image's side, and at least so many pixels high
_LINE = 14  # letters that go into the narrowest picture
_COVER = 0.4  # how much of a mask's pixels is its colour
_PAPER, _QUIET, _INK = (24, 24, 24), (150, 150, 150), (255, 255, 255)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Manner:
    """How a picture is drawn.

    Attributes:
        smallest: pixels of the longer side; smaller images are enlarged by a whole number.
        cover: how much of a mask's pixels is its colour, in [0, 1].
        named: whether every box has its class written on it; the strip below names the classes all the same.
    """

    smallest: int = 480
    cover: float = _COVER
    named: bool = True


ALONE = Manner()
"""As a picture is drawn that is looked at by itself."""


def palette(labels: Mapping[str, LabelSchema]) -> dict[str, Colour]:
    """Return class name -> colour for the classes that a model can draw; the same in all of its pictures."""
    return _colours(name for schema in labels.values() if schema.kind in ("boxes", "mask") for name in schema.names)


def legend(labels: Mapping[str, LabelSchema], task: str) -> list[tuple[str, Colour]]:
    """Return the classes of one of a model's tasks that are drawn, each with its colour."""
    colours = palette(labels)
    return [(name, colours[name]) for name in labels[task].names if name in colours and name != BACKGROUND]


def draw(
    image: NDArray[np.uint8],
    answers: Answers,
    colours: Mapping[str, Colour] | None = None,
    manner: Manner = ALONE,
) -> Image.Image:
    """Return the picture of the answers to an (H, W, 3) uint8 image; boxes that are not sure enough are left out.

    Args:
        colours: `palette` of the model. Left out: colours for the classes of this image alone.
    """
    seen = [answer.marks() for answer in answers.values()]
    boxes = [box for marks in seen for box in marks.boxes]
    masks = [mask for marks in seen for mask in _foreground(marks)]
    names = dict.fromkeys([name for name, _ in masks] + [name for _, name, _ in boxes])
    chosen = dict(_colours(names) if colours is None else colours)
    sheet = _Sheet.of(image, manner.smallest)
    sheet.paste(image)
    for name, mask in masks:
        sheet.cover(mask, chosen[name], manner.cover)
    for box, name, _ in reversed(boxes):
        sheet.outline(box, chosen[name])
    for box, name, score in boxes if manner.named else ():
        sheet.label(box, f"{_plain(name)} {score:.2f}", chosen[name])
    return sheet.above(_strip(answers, {name: chosen[name] for name in names}, sheet))


def thumbnail(image: NDArray[np.uint8], marks: Marks, colours: Mapping[str, Colour], side: int) -> Image.Image:
    """Return an (H, W, 3) uint8 image no larger than ``side`` along its longer side, with boxes and masks and no words.

    Args:
        colours: of every class in the marks.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    shares = picture.width / image.shape[1], picture.height / image.shape[0]
    for name, mask in _foreground(marks):
        small = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
        _cover(picture, np.asarray(small, dtype=bool), colours[name], edge=1)
    for (x0, y0, x1, y1), name, _ in reversed(marks.boxes):
        box = x0 * shares[0], y0 * shares[1], x1 * shares[0], y1 * shares[1]
        _outline(picture, picture.size, box, colours[name], line=2)
    return picture


def _colours(names: Iterable[str]) -> dict[str, Colour]:
    """Return a colour for each name: its own where that is free, so that it hardly depends on the other names."""
    used, found = [0] * len(COLOURS), {}
    for name in sorted(set(names)):
        own = zlib.crc32(name.encode("utf-8", "replace"))
        turns = [(own + turn) % len(COLOURS) for turn in range(len(COLOURS))]
        place = min(turns, key=used.__getitem__)
        used[place] += 1
        found[name] = COLOURS[place]
    return found


def _foreground(marks: Marks) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return class names and (H, W) masks, without that of the background."""
    decoded = {name: rle.decode(runs) for name, runs in marks.masks.items()}
    areas = {name: int(mask.sum()) for name, mask in decoded.items()}
    behind = BACKGROUND if BACKGROUND in marks.classes else max(areas, key=areas.__getitem__, default=None)
    return [(name, mask) for name, mask in decoded.items() if name != behind]


def _cover(picture: Image.Image, mask: NDArray[np.bool_], colour: Colour, edge: int, share: float = _COVER) -> None:
    """Lay translucent colour on the pixels of a mask, and full colour on its edge."""
    shade = np.full(mask.shape, round(255 * share), dtype=np.uint8)
    shade[_edge(mask, edge)] = 255
    picture.paste(colour, (0, 0), Image.fromarray(shade * mask))


def _outline(picture: Image.Image, size: tuple[int, int], box: _Box, colour: Colour, line: int) -> None:
    """Draw a box around its pixels, with a dark edge that shows it on any ground.

    Args:
        size: width and height of the image that lies at the picture's left upper corner.
    """
    pen = ImageDraw.Draw(picture)
    for reach, width, ink in ((line + 1, 1, _PAPER), (line, line, colour)):
        pen.rectangle(_around(box, reach, size), outline=ink, width=width)


def _around(box: _Box, reach: int, size: tuple[int, int]) -> _Box:
    """Return the corners of a box that is wider by ``reach``, inside an image."""
    (wide, high), (x0, y0, x1, y1) = size, box
    left, top = min(wide - 1, max(0.0, x0 - reach)), min(high - 1, max(0.0, y0 - reach))
    return left, top, max(left, min(wide - 1, x1 + reach - 1)), max(top, min(high - 1, y1 + reach - 1))


def _edge(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the outermost pixels of a mask; the border of the image is no edge."""
    inner = mask.copy()
    for step in range(1, width + 1):
        inner[step:] &= mask[:-step]
        inner[:-step] &= mask[step:]
        inner[:, step:] &= mask[:, :-step]
        inner[:, :-step] &= mask[:, step:]
    return mask & ~inner


@dataclass(frozen=True)
class _Sheet:
    """Paper that an image lies on, at its left upper corner.

    Attributes:
        paper: the picture so far.
        enlarged: pixels of the paper per pixel of the image.
        letters: height of letters in pixels.
        labels: where there are labels already.
    """

    paper: Image.Image
    enlarged: int
    letters: int
    size: tuple[int, int]
    labels: list[_Box]

    @classmethod
    def of(cls, image: NDArray[np.uint8], smallest: int) -> "_Sheet":
        height, width = image.shape[:2]
        enlarged = max(1, math.ceil(smallest / max(height, width)))
        wide, high = width * enlarged, height * enlarged
        letters = max(_SHORTEST, round(math.sqrt(wide * high) / _LETTERS))
        least = letters * _LINE
        paper = Image.new("RGB", (max(wide, least), max(high, 3 * letters)), _PAPER)
        return cls(paper, enlarged, letters, (wide, high), [])

    @cached_property
    def font(self) -> _Font:
        return ImageFont.load_default(self.letters)

    @property
    def line(self) -> int:
        """Width of a box's line, in pixels; the edge of a mask has half of it."""
        return max(3, self.letters // 5)

    @property
    def gap(self) -> int:
        return max(3, self.letters // 4)

    def paste(self, image: NDArray[np.uint8]) -> None:
        self.paper.paste(Image.fromarray(image).resize(self.size, Image.Resampling.NEAREST))

    def cover(self, mask: NDArray[np.bool_], colour: Colour, share: float) -> None:
        """Lay translucent colour on the pixels of a mask, and full colour on its edge."""
        mask = mask.repeat(self.enlarged, axis=0).repeat(self.enlarged, axis=1)
        _cover(self.paper, mask, colour, self.line // 2, share)

    def outline(self, box: _Box, colour: Colour) -> None:
        """Draw a box around its pixels, with a dark edge that shows it on any ground."""
        _outline(self.paper, self.size, self._enlarged(box), colour, self.line)

    def _enlarged(self, box: _Box) -> _Box:
        x0, y0, x1, y1 = box
        return x0 * self.enlarged, y0 * self.enlarged, x1 * self.enlarged, y1 * self.enlarged

    def label(self, box: _Box, text: str, colour: Colour) -> None:
        """Write on a box's colour, above the box, below it or in it, where it hides no other label."""
        text = self.fitted(text, self.paper.width - 2 * self.gap)
        width, height = self.length(text) + 2 * self.gap, self.height
        left, top, _, bottom = _around(self._enlarged(box), self.line, self.size)
        left = min(left, self.paper.width - width)
        spots = [(left, row, left + width, row + height) for row in (top - height, bottom + 1, top)]
        inside = [spot for spot in spots if spot[1] >= 0 and spot[3] <= self.paper.height]
        spot = next((spot for spot in inside if not any(_touch(spot, other) for other in self.labels)), spots[2])
        self.labels.append(spot)
        pen = ImageDraw.Draw(self.paper)
        pen.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=colour)
        pen.text((spot[0] + self.gap, spot[1] + height / 2), text, _readable(colour), self.font, anchor="lm")

    @property
    def height(self) -> int:
        """Height of a line of letters, in pixels."""
        return round(self.letters * 1.35)

    def length(self, text: str) -> int:
        return math.ceil(self.font.getlength(text))

    def fitted(self, text: str, room: int) -> str:
        """Return text, cut where it is longer than ``room`` pixels."""
        if self.length(text) <= room:
            return text
        kept = next((end for end in range(len(text), 0, -1) if self.length(f"{text[:end]}...") <= room), 0)
        return f"{text[:kept]}..."

    def above(self, strip: Image.Image) -> Image.Image:
        """Return the picture with a strip below it."""
        whole = Image.new("RGB", (self.paper.width, self.paper.height + strip.height), _PAPER)
        whole.paste(self.paper)
        whole.paste(strip, (0, self.paper.height))
        return whole


@dataclass(frozen=True)
class _Word:
    """A piece of text that is not broken, with the colour of its class where that is drawn."""

    text: str
    ink: Colour
    swatch: Colour | None = None


def _strip(answers: Answers, colours: Mapping[str, Colour], sheet: _Sheet) -> Image.Image:
    """Return a line a task, or more where they are long: its name, its classes, and their colours where drawn."""
    placed, lines = _laid([_words(task, answer, colours) for task, answer in answers.items()], sheet)
    strip = Image.new("RGB", (sheet.paper.width, lines * sheet.height + 2 * sheet.gap), _PAPER)
    pen = ImageDraw.Draw(strip)
    for left, line, word in placed:
        middle, side = sheet.gap + (line + 0.5) * sheet.height, sheet.letters * 0.35
        if word.swatch:
            pen.rectangle((left, middle - side, left + 2 * side, middle + side), fill=word.swatch)
        pen.text((left + _room(word, sheet), middle), word.text, word.ink, sheet.font, anchor="lm")
    return strip


def _words(task: str, answer: Answer, colours: Mapping[str, Colour]) -> list[_Word]:
    told = [_Word(f"{_plain(name)} {word}", _INK, colours.get(name)) for name, word in answer.summary().items()]
    return [_Word(f"{task}:", _QUIET), *(told or [_Word("-", _INK)])]


def _laid(tasks: Sequence[Sequence[_Word]], sheet: _Sheet) -> tuple[list[tuple[int, int, _Word]], int]:
    """Return each word with its left edge and its line, and how many lines there are."""
    placed, line, indent = [], 0, 3 * sheet.gap
    for words in tasks:
        left = sheet.gap
        for word in words:
            room = _room(word, sheet)
            fitted = replace(word, text=sheet.fitted(word.text, sheet.paper.width - indent - room - sheet.gap))
            width = room + sheet.length(fitted.text)
            if left > sheet.gap and left + width + sheet.gap > sheet.paper.width:
                line, left = line + 1, indent
            placed.append((left, line, fitted))
            left += width + 2 * sheet.gap
        line += 1
    return placed, line


def _room(word: _Word, sheet: _Sheet) -> int:
    """Return the width of a word's patch of colour, in pixels."""
    return sheet.letters if word.swatch else 0


def _plain(name: str) -> str:
    """Return a name on one line."""
    return " ".join(name.split())


def _readable(colour: Colour) -> Colour:
    """Return black or white, whichever stands out more against a colour."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 100 else (255, 255, 255)


def _touch(one: _Box, other: _Box) -> bool:
    return all(one[axis] < other[axis + 2] and other[axis] < one[axis + 2] for axis in (0, 1))
