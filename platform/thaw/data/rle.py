"""Run lengths: binary masks in the compressed form of the COCO data set, at a hundredth of their bytes.

Written here rather than taken from COCO's own code, which trusts run lengths that come in a file: here those that
do not fill their mask are refused.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_BITS, _SIGN, _MORE, _FIRST = 5, 16, 32, 48  # of one character: payload, its sign bit, "goes on", and the digit 0
_LONGEST = 7  # characters of one run: enough for 2**34 pixels


class Rle(BaseModel):
    """A binary mask as COCO writes it: column by column, run lengths in printable characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    """Height and width, in pixels."""
    counts: str


def encode(mask: NDArray[np.bool_]) -> Rle:
    """Return an (H, W) mask as run lengths."""
    height, width = mask.shape
    return Rle(size=(height, width), counts=_text(_runs(mask)))


def encode_classes(mask: NDArray[np.uint8]) -> dict[int, tuple[Rle, int]]:
    """Return class index -> run lengths and number of its pixels, of an (H, W) mask of class indices, in one pass."""
    height, width = mask.shape
    flat = mask.ravel(order="F")
    begins = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]) if flat.size else np.empty(0, np.int64)
    ends = np.append(begins[1:], flat.size)
    found = {}
    for place in np.unique(flat[begins]).tolist():
        own = flat[begins] == place
        first, last = begins[own], ends[own]
        counts = np.empty(2 * len(first), np.int64)
        counts[::2] = first - np.concatenate([[0], last[:-1]])
        counts[1::2] = last - first
        left = flat.size - last[-1]
        runs = np.append(counts, left) if left else counts
        found[place] = Rle(size=(height, width), counts=_text(runs)), int(counts[1::2].sum())
    return found


def decode(runs: Rle) -> NDArray[np.bool_]:
    """Return the (H, W) mask of run lengths.

    Raises:
        ValueError: they are not written as COCO writes them, or do not fill the mask exactly.
    """
    return from_runs(_numbers(runs.counts), runs.size)


def from_runs(runs: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the (H, W) mask of plain run lengths: so many pixels without, so many with, and so on.

    Raises:
        ValueError: they are not whole numbers, or do not fill the mask exactly.
    """
    counts, (height, width) = np.asarray(runs), size
    if counts.size and (counts.ndim != 1 or counts.dtype.kind not in "iu"):  # beyond 64 bits, NumPy gives objects
        raise ValueError("the run lengths are not a list of whole numbers that a mask can have")
    # each is held against the size first: a sum of large ones wraps around, and numpy.repeat writes where it says
    if (counts < 0).any() or (counts > height * width).any() or counts.sum() != height * width:
        raise ValueError(f"the run lengths do not add up to {height} x {width} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts.astype(np.int64)).reshape(width, height).T


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return run lengths, column by column; the first is of pixels without, and may be 0."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return np.concatenate([[0], counts]) if flat.size and flat[0] else counts


def _text(counts: NDArray[np.int64]) -> str:
    """Return numbers as characters of 5 bits each, lowest first; from the fourth on as changes to the last but one."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    shifts = _BITS * np.arange(_LONGEST)
    bits, rest = (values[:, None] >> shifts) & 31, values[:, None] >> (shifts + _BITS)
    more = np.where(bits & _SIGN, rest != -1, rest != 0)
    written = np.ones_like(more)
    written[:, 1:] = np.logical_and.accumulate(more, axis=1)[:, :-1]
    return bytes((bits + _MORE * more + _FIRST)[written].tolist()).decode("ascii")


def _numbers(text: str) -> NDArray[np.int64]:
    """Return the numbers that `_text` made the characters of."""
    values = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - _FIRST
    ends = np.flatnonzero((values & _MORE) == 0)
    if not len(values) or values.min() < 0 or values.max() > 63 or not len(ends) or ends[-1] != len(values) - 1:
        raise ValueError("these are no run lengths as COCO writes them")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("a run length has too many digits")
    place = np.arange(len(values)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((values & 31) << (_BITS * place), starts)
    counts -= np.where(values[ends] & _SIGN, np.int64(1) << (_BITS * lengths), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts
