"""Coverage: what the mask of an image shows, class by class, and how it goes with the boxes of the same image.

Measured once, while images are checked, and kept among the facts (see thaw.data.facts). Nothing here knows which class
is the background: figures are given for every class, so whoever reads them can choose.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

SPECK = 8
"""Most pixels of a speck. Nobody draws so little on purpose; thresholds, brushes and resized masks leave it behind."""

_BAND = 2**20
"""Pixels that are searched for specks at a time."""

Row = dict[str, Any]
"""Plain data, such as JSON carries."""


class Agreement(BaseModel):
    """How a mask goes with the boxes of one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    boxes: int
    """How many there are."""
    alone: dict[str, int]
    """Class -> boxes below which all labelled pixels are of it."""
    named: int
    """Boxes of a class that the mask knows too."""
    missed: dict[str, int]
    """Those of them without a single pixel of their class, by the class that is alone below them; "" where it is not
    one."""
    outside: dict[str, float]
    """Class -> share of the image that is of it and lies in no box."""


class Coverage(BaseModel):
    """What one mask shows. Classes that it does not show are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shares: dict[str, float]
    """Class -> share of the image; they sum to 1, or less where pixels have no label."""
    specks: dict[str, int]
    """Class -> connected parts, over edges and corners, of at most `SPECK` pixels."""
    agreements: dict[str, Agreement] = {}
    """Where the boxes come from -> how the mask goes with them."""


def measure(
    pixels: NDArray[np.uint8],
    names: Mapping[int, str],
    boxes: Mapping[str, tuple[Sequence[Sequence[float]], Sequence[str]]],
) -> Row:
    """Return the `Coverage` of a mask, as plain data.

    Args:
        pixels: (H, W) values; those without a name are 255 and have no label.
        names: value -> class; several values may be of one class.
        boxes: where they come from -> x0, y0, x1, y1 each, inside the image, and their classes.
    """
    pixels, first = _one_value_a_class(pixels, names)
    pixels_of, specks = counts(pixels), _specks(pixels)
    shown = {value: name for value, name in first.items() if pixels_of[value]}
    found = Coverage(
        shares={name: int(pixels_of[value]) / pixels.size for value, name in shown.items()},
        specks={name: int(specks[value]) for value, name in shown.items() if specks[value]},
        agreements={source: _agreement(pixels, first, *one) for source, one in boxes.items()},
    )
    return found.model_dump()


def counts(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (256,) how many pixels have each value; piece by piece, for NumPy makes 8 bytes of each to count it."""
    flat = pixels.reshape(-1)
    found = np.zeros(256, dtype=np.int64)
    for first in range(0, len(flat), _BAND):
        found += np.bincount(flat[first : first + _BAND], minlength=256)
    return found


def of(table: pa.Table, task: str) -> list[Coverage | None]:
    """Return the coverage of each image's mask for a task, out of a table of facts; None where it has none."""
    found = (json.loads(one or "{}").get(task) for one in table["coverage"].to_pylist())
    return [None if one is None else Coverage.model_validate(one) for one in found]


def _one_value_a_class(pixels: NDArray[np.uint8], names: Mapping[int, str]) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Return the mask with the first value of each class in place of all, and what these mean."""
    first: dict[str, int] = {}
    for value, name in sorted(names.items()):
        first.setdefault(name, value)
    if len(first) < len(names):
        table = np.arange(256, dtype=np.uint8)
        for value, name in names.items():
            table[value] = first[name]
        pixels = table[pixels]
    return pixels, {value: name for name, value in first.items()}


def _agreement(
    pixels: NDArray[np.uint8], names: Mapping[int, str], boxes: Sequence[Sequence[float]], classes: Sequence[str]
) -> Agreement:
    value_of = {name: value for value, name in names.items()}
    free = np.ones(pixels.shape, dtype=bool)
    alone, missed, named = Counter[str](), Counter[str](), 0
    for (left, top, right, bottom), name in zip(boxes, classes, strict=True):
        part = np.s_[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        free[part] = False
        below = counts(pixels[part])
        found = [one for value, one in names.items() if below[value]]
        if len(found) == 1:
            alone[found[0]] += 1
        if name in value_of:
            named += 1
            if not below[value_of[name]]:
                missed[found[0] if len(found) == 1 else ""] += 1
    outside = counts(pixels[free])
    shares = {name: int(outside[value]) / pixels.size for value, name in names.items() if outside[value]}
    return Agreement(boxes=len(boxes), alone=alone, named=named, missed=missed, outside=shares)


def _specks(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (256,) how many specks of each value there are.

    Band by band, so that memory does not grow with the image: a part whose highest row is in a band and that reaches
    below the rows seen with it is too high for a speck, and the row above tells whether it begins higher.
    """
    height, width = pixels.shape
    rows = max(1, _BAND // width)
    found = np.zeros(256, dtype=np.int64)
    for first in range(0, height, rows):
        above = min(first, 1)
        found += _specks_of(pixels[first - above : first + rows + SPECK], above, rows)
    return found


def _specks_of(window: NDArray[np.uint8], above: int, rows: int) -> NDArray[np.int64]:
    """Return (256,) how many specks begin in ``rows`` rows after those ``above``.

    Runs of equal pixels are joined to those that they touch in the next row, if both are short enough for a speck;
    what touches a longer one is no speck.
    """
    begins = np.ones(window.shape, dtype=bool)
    begins[:, 1:] = window[:, 1:] != window[:, :-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=window.size)
    short = lengths <= SPECK
    upper, lower = _touching(window, np.cumsum(begins, dtype=np.int32).reshape(window.shape) - 1, short)
    part = _joined(np.arange(len(starts)), upper, lower, short)
    whole = short & (np.bincount(part, weights=lengths, minlength=len(starts)) <= SPECK)
    split = part[upper] != part[lower]
    whole[part[upper[split]]] = whole[part[lower[split]]] = False
    row = starts // window.shape[1]
    speck = (part == np.arange(len(starts))) & whole & (row >= above) & (row < above + rows)
    return np.bincount(window.ravel()[starts[speck]], minlength=256)


def _touching(
    window: NDArray[np.uint8], run: NDArray[np.int32], short: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return pairs of runs of one value, at least one of them short, that touch over an edge or a corner."""
    pairs, in_short, width = [], short[run], window.shape[1]
    for shift in (-1, 0, 1):
        over = np.s_[:-1, max(0, shift) : width + min(0, shift)]
        under = np.s_[1:, max(0, -shift) : width + min(0, -shift)]
        touch = (in_short[over] | in_short[under]) & (window[over] == window[under])
        pairs.append((run[over][touch], run[under][touch]))
    return np.concatenate([one for one, _ in pairs]), np.concatenate([one for _, one in pairs])


def _joined(
    part: NDArray[np.int64], upper: NDArray[np.int32], lower: NDArray[np.int32], short: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the lowest number among all short runs that each is joined to, for parts of at most `SPECK` runs.

    Larger parts may stay in pieces; of such a piece, some run touches one with another number.
    """
    both = short[upper] & short[lower]
    upper, lower = upper[both], lower[both]
    for _ in range(SPECK):
        before, lowest = part.copy(), np.minimum(part[upper], part[lower])
        np.minimum.at(part, upper, lowest)
        np.minimum.at(part, lower, lowest)
        part = part[part]
        if np.array_equal(part, before):
            break
    return part
