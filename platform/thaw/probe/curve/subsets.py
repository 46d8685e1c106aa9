"""Subsets: growing parts of the training images in which every class keeps its share."""

import numpy as np
from numpy.typing import NDArray

from thaw.probe.folds import strata_of

SIZES = 8
_SMALLEST = 1 / 16
"""The smallest subset, as a share of all; or `fewest`, where that is more."""
_FEWEST = 16


def fewest(classes: int) -> int:
    """Return the images that the smallest subset has at least: about two a class."""
    return max(2 * classes, _FEWEST)


def sizes(images: int, classes: int) -> NDArray[np.int64]:
    """Return numbers of images in even ratios up to all of them; fewer numbers where they are close together."""
    least = min(max(images * _SMALLEST, fewest(classes)), images)
    return np.unique(np.geomspace(least, images, SIZES).round().astype(np.int64))


def order(targets: NDArray[np.int64], seed: int, draw: int) -> NDArray[np.int64]:
    """Return (N,) images so ordered that every beginning has about the same shares of classes.

    Args:
        targets: (N,) class indices, or (N, C) zeros and ones.
    """
    random = np.random.default_rng([seed, draw])
    strata = strata_of(targets)
    turn = np.empty(len(strata))
    for stratum in np.unique(strata):
        places = random.permutation(np.flatnonzero(strata == stratum))
        turn[places] = (np.arange(len(places)) + random.random()) / len(places)
    return np.argsort(turn, kind="stable")
