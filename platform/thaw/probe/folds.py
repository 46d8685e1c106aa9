"""Folds: images dealt into parts of equal kinds, so that each can be judged by what was learnt from the others."""

import numpy as np
from numpy.typing import NDArray


def deal(strata: NDArray[np.int64], groups: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """Return (N,) the fold of each image.

    Each stratum is spread evenly over the folds, and all images of a group are in one of them, so that no image is
    judged by a head that has seen its copy.

    Args:
        strata: (N,) the class of each image; see `strata_of` for sets of them.
        groups: (N,) any words; equal ones stay together, under the stratum of the first of them.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    of_group = strata[first]
    random, fold, dealt = np.random.default_rng(seed), np.empty(len(first), dtype=np.int64), 0
    for stratum in np.unique(of_group):
        places = random.permutation(np.flatnonzero(of_group == stratum))
        fold[places] = (dealt + np.arange(len(places))) % folds  # goes on where the last one ended: equal sizes
        dealt += len(places)
    found: NDArray[np.int64] = fold[member]
    return found


def strata_of(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) a stratum of each labelled image: its class, or of a set of classes the rarest one.

    Args:
        targets: (N,) class indices, or (N, C) zeros and ones.

    Source: the rarest first, as in Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10.
    """
    if targets.ndim == 1:
        return targets
    rarity = np.argsort(np.argsort(targets.sum(axis=0), kind="stable"))
    ranks = np.where(targets > 0, rarity, targets.shape[1])
    found: NDArray[np.int64] = ranks.min(axis=1)
    return found
