"""Windows: what a part of an image, or its mirror image, looks like, by the cosine coefficients of the whole.

A cut is how much of an image is left out at its beginning and its end along one side, in units of 1 / `UNITS` of it.
"""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.data.signature import SIDE

UNITS = 200
WIDEST = 52
"""The largest cut at either end, in units."""
KEPT = 20
"""Frequencies of a window along each side: those that it shares with what it is held against, whatever is cut."""
_POINTS = 2 * SIDE


@functools.cache
def along() -> Tensor:
    """Return (WIDEST + 1, WIDEST + 1, KEPT, SIDE): by cut at beginning and end, a matrix that takes the coefficients
    of an image along one side to those of its window."""
    ends = np.arange(WIDEST + 1, dtype=np.float32) / UNITS
    first, last = ends[:, None, None], 1 - ends[None, :, None]
    places = first + (last - first) * (np.arange(_POINTS, dtype=np.float32) + 0.5) / _POINTS
    seen = np.cos(np.pi * places[..., None] * np.arange(SIDE, dtype=np.float32)) * _scale(SIDE)
    return torch.from_numpy(_transform() @ seen.astype(np.float32))


def mirrored(spectra: Tensor) -> Tensor:
    """Return the coefficients of the mirror images: left is right.

    Args:
        spectra: (..., rows, columns).
    """
    return spectra * (1 - 2 * (torch.arange(spectra.shape[-1]) % 2))


def _transform() -> NDArray[np.float32]:
    """Return (KEPT, points) the cosine transform."""
    each, points = np.arange(KEPT)[:, None], np.arange(_POINTS)
    waves = np.cos(np.pi * each * (points + 0.5) / _POINTS) / _POINTS * _scale(KEPT)[:, None]
    return waves.astype(np.float32)


def _scale(count: int) -> NDArray[np.float64]:
    return np.where(np.arange(count), np.sqrt(2), 1.0)
