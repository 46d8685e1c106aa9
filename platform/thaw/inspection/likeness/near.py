"""Near copies: pairs of images, one of which is the other compressed, resized, cropped, mirrored or brightened.

Candidates come first: each image, and windows of it and of its mirror image that leave out up to a fifth of a side, are
described by some of their lowest frequencies, and the nearest whole images are looked up. Each candidate is then laid
onto the other as well as it can be (see `alignment`), and only what fits is a near copy. Two photographs of one scene,
taken within a second, may pass for copies, and are as good as copies for training. Images that were turned or turned
upside down, and crops to less than 80 % of a side, are not looked for.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.data import signature
from thaw.inspection.likeness import alignment, windows
from thaw.inspection.likeness.neighbours import Neighbours

FITS = 0.85
"""Least score of a near copy; see tests/bench/bench_inspect.py for what it finds and what it takes for copies."""
MOST = 8
"""Nearest images that are looked at for each window, itself among them."""

_MAYBE = 0.6
"""Least cosine of a candidate's description."""
_STEP = 16
"""Units between the edges of windows: at 8 % of a side, what is left over moves the lowest waves but a little."""
_LARGEST_CUT = 40
_LOWEST = 10
_DESCRIBED = 64
_AT_ONCE = 2048
"""Images whose windows are looked up together."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of images: (P,) places of either, the lower one first, and how sure it is that they are copies."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scores: NDArray[np.float32]


def pairs(packed: NDArray[np.uint8], asked: NDArray[np.int64]) -> Pairs:
    """Return the near copies of some images, each pair once.

    Of an image with more than `MOST` near copies, some are left out.

    Args:
        packed: (N, signature.BYTES) of all images.
        asked: places of those whose windows are looked up among all.
    """
    base = Neighbours(np.concatenate([_described(packed[part])[:, 0, 0].numpy() for part in _parts(len(packed))]))
    found = [_candidates(packed, asked[part], base) for part in _parts(len(asked))]
    some = np.concatenate(found) if found else np.empty(0, dtype=_CANDIDATE)
    scores = np.concatenate([np.empty(0, np.float32), *(_fit(packed, some[part]) for part in _parts(len(some)))])
    return _once(some[scores >= FITS], scores[scores >= FITS])


def _once(some: NDArray[np.void], scores: NDArray[np.float32]) -> Pairs:
    """Return pairs without regard to which of the two the window was of."""
    ends = np.sort(np.stack([some["image"], some["other"]]), axis=0)
    order = np.lexsort([-scores, ends[1], ends[0]])
    pairs, first = np.unique(ends[:, order], axis=1, return_index=True)
    return Pairs(pairs[0], pairs[1], scores[order[first]])


_CANDIDATE = np.dtype(
    [("image", np.int64), ("other", np.int64), ("cosine", np.float32), ("window", np.int16), ("mirrored", np.bool_)]
)


def _candidates(packed: NDArray[np.uint8], asked: NDArray[np.int64], base: Neighbours) -> NDArray[np.void]:
    """Return which images resemble windows of those asked for."""
    found = []
    for mirrored in (False, True):
        described = _described(packed[asked], mirrored).flatten(0, 2).numpy()
        cosines, places = base.nearest(described, MOST)
        images = np.repeat(asked, len(described) // len(asked))
        row, column = np.nonzero((cosines >= _MAYBE) & (places != images[:, None]))
        some = np.empty(len(row), dtype=_CANDIDATE)
        some["image"], some["other"], some["cosine"] = images[row], places[row, column], cosines[row, column]
        some["window"], some["mirrored"] = row % (len(described) // len(asked)), mirrored
        found.append(some)
    return _best(np.concatenate(found))


def _best(candidates: NDArray[np.void]) -> NDArray[np.void]:
    """Return the best window of an image for each other image."""
    order = np.lexsort([-candidates["cosine"], candidates["other"], candidates["image"]])
    _, first = np.unique(candidates[["image", "other"]][order], return_index=True)
    return candidates[order[first]]


def _fit(packed: NDArray[np.uint8], some: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the scores of candidates."""
    whole, other = (torch.from_numpy(signature.spectra(packed[some[name]])) for name in ("image", "other"))
    mirrored = torch.from_numpy(some["mirrored"].copy())
    whole = torch.where(mirrored[:, None, None], windows.mirrored(whole), whole)
    down, across = np.divmod(some["window"].astype(np.int64), len(_cuts()))
    cuts = torch.stack([_cuts()[torch.from_numpy(one)] for one in (down, across)], dim=1)
    scores: NDArray[np.float32] = alignment.lay(whole, other, cuts).scores.numpy()
    return scores


def _described(packed: NDArray[np.uint8], mirrored: bool = False) -> Tensor:
    """Return (N, W, W, D) descriptions of length 1, or 0, by cut down and across; the first is of the whole image."""
    spectra = torch.from_numpy(signature.spectra(packed))
    spectra = windows.mirrored(spectra) if mirrored else spectra
    cuts = _cuts()
    along = windows.along()[cuts[:, 0], cuts[:, 1], :_LOWEST]
    seen = (along @ spectra[:, None])[:, :, None] @ along.mT
    each = torch.arange(_LOWEST, dtype=torch.float32)
    often = torch.hypot(each[:, None], each)
    often[0], often[:, 0] = torch.inf, torch.inf  # what goes straight down or across tells least
    lowest = often.flatten().argsort(stable=True)[:_DESCRIBED]
    described = seen.flatten(3)[..., lowest] * often.flatten()[lowest]
    return torch.nn.functional.normalize(described, dim=3)


def _cuts() -> Tensor:
    """Return (W, 2) the cuts along a side that are looked at, none first."""
    ends = range(0, _LARGEST_CUT + 1, _STEP)
    return torch.tensor([(first, last) for first in ends for last in ends if first + last <= _LARGEST_CUT])


def _parts(count: int) -> list[slice]:
    return [slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE)]
