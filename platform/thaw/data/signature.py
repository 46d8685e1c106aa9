"""Signature: what an image looks like, in 288 bytes, so that copies of it are found without opening it again.

The 24 x 24 lowest frequencies of its grey values by the cosine transform, as perceptual hashes take them (Zauner 2010,
Implementation and Benchmarking of Perceptual Image Hash Functions), but with their sizes, not their signs alone: so
what a window of the image, or its mirror image, looks like can be computed from it, and crops are found too (see
thaw.inspection.likeness). Each is weighed by its frequency, for natural images hold less of higher ones in about that
proportion (Field 1987, J. Opt. Soc. Am. A 4), and kept in 15 steps relative to all of them together: brightness and
contrast do not count.
"""

import base64
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 24
"""Frequencies along each side, the first of which is 0."""
BYTES = SIDE * SIDE // 2

_STEPS = 7
_LARGEST = 3.2
"""Root of the largest frequency that is told from larger ones, in units of the root mean square of all."""
_LEAST = 1.0
"""Grey levels, of 255, by which an image must vary in these frequencies for there to be anything to compare."""


def of(grey: NDArray[np.float32]) -> str:
    """Return the signature of an image, as base64 text; that of an image of one grey is all zeros.

    Args:
        grey: (H, W), 0 to 255.
    """
    high, wide = grey.shape
    sizes = _waves(high) @ grey @ _waves(wide).T
    sizes[0, 0] = 0.0
    if np.sqrt((sizes**2).sum()) < _LEAST:
        sizes[:] = 0.0
    weighed = sizes * frequencies()
    mean = np.sqrt((weighed**2).mean()) or 1.0
    steps = np.rint(np.sqrt(np.abs(weighed) / mean) * (_STEPS / _LARGEST)).clip(max=_STEPS) * np.sign(weighed)
    pairs = (steps.astype(np.int8) + 8).astype(np.uint8).reshape(-1, 2)
    return base64.b64encode((pairs[:, 0] << 4 | pairs[:, 1]).tobytes()).decode()


def packed(signatures: Sequence[str]) -> NDArray[np.uint8]:
    """Return (N, BYTES) signatures as they are kept at hand."""
    return np.frombuffer(base64.b64decode("".join(signatures)), dtype=np.uint8).reshape(-1, BYTES)


def spectra(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, SIDE, SIDE) cosine coefficients of images, up to a factor each: rows go down, columns across.

    Those of an image of one grey are zeros.

    Args:
        rows: (N, BYTES) some of what `packed` returned.
    """
    steps = np.stack([rows >> 4, rows & 15], axis=-1).reshape(-1, SIDE, SIDE).astype(np.float32) - 8
    found: NDArray[np.float32] = np.sign(steps) * steps**2 / frequencies()
    return found


@functools.cache
def frequencies() -> NDArray[np.float32]:
    """Return (SIDE, SIDE) how often each wave goes up and down, 1 for the first, which does not."""
    each = np.arange(SIDE, dtype=np.float32)
    found: NDArray[np.float32] = np.hypot(each[:, None], each)
    found[0, 0] = 1.0
    return found


@functools.lru_cache(maxsize=64)
def _waves(length: int) -> NDArray[np.float32]:
    """Return (SIDE, length) cosines of unit mean square, so that coefficients are in grey levels.

    Those above what so few pixels can show are zeros.
    """
    each = np.arange(SIDE)[:, None]
    waves = np.cos(np.pi * each * (np.arange(length) + 0.5) / length) * np.where(each, np.sqrt(2), 1) / length
    return np.where(each < length, waves, 0).astype(np.float32)
