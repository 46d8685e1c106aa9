"""Groups: images that are copies of one another, directly or by way of others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw.data import signature
from thaw.inspection.likeness import near
from thaw.inspection.likeness.near import Pairs


@dataclass(frozen=True)
class Copies:
    """Which of N images are copies.

    Attributes:
        exact: (N,) the first image that has the same bytes, by its place; its own where no other has.
        groups: (N,) the first image of the group that it is in, by its place; its own where it has no copy.
        pairs: near copies, between first images of the same bytes.
    """

    exact: NDArray[np.int64]
    groups: NDArray[np.int64]
    pairs: Pairs

    @property
    def members(self) -> list[NDArray[np.int64]]:
        """The places of the images of each group of two and more."""
        return members(self.groups)


def of(facts: pa.Table) -> Copies:
    """Return which images are copies.

    An image that has many near copies is found to be one of them by way of others: each round looks up whole groups by
    their first images, until no group grows by more than can be seen at once.

    Args:
        facts: as `thaw.data.facts` has them.
    """
    _, first, inverse = np.unique(facts["sha256"].to_pylist(), return_index=True, return_inverse=True)
    exact = first[inverse].astype(np.int64)
    packed = signature.packed(facts["signature"].to_pylist())
    groups, found, asked = exact, [_none()], np.unique(exact)
    while len(asked):
        some = np.unique(groups)
        seen = near.pairs(packed[some], np.searchsorted(some, asked))
        found.append(Pairs(some[seen.first], some[seen.second], seen.scores))
        joined = components(len(exact), found[-1].first, found[-1].second)
        asked = _crowded(joined)
        groups = joined[groups]
    return Copies(exact, groups, Pairs(*(np.concatenate([getattr(one, name) for one in found]) for name in _NAMES)))


_NAMES = ("first", "second", "scores")


def _none() -> Pairs:
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _crowded(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first images of groups so large that not all near copies of an image were seen."""
    found, counts = np.unique(groups, return_counts=True)
    crowded: NDArray[np.int64] = found[counts >= near.MOST]
    return crowded


def components(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (count,) the lowest place that each place is joined with, directly or by way of others.

    Args:
        first, second: (P,) places that are joined.
    """
    lowest = np.arange(count)
    while True:
        here, there = lowest[first], lowest[second]
        if (here == there).all():
            return lowest
        least = np.minimum(here, there)
        np.minimum.at(lowest, here, least)
        np.minimum.at(lowest, there, least)
        while (lowest[lowest] != lowest).any():
            lowest = lowest[lowest]


def members(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the places in each group of two and more, in order.

    Args:
        groups: (N,) which group each place is in.
    """
    order = np.argsort(groups, kind="stable")
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    parts: Sequence[NDArray[np.int64]] = np.split(order, borders)
    return [part for part in parts if len(part) > 1]
