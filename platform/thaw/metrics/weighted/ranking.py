"""Ranking: how well scores order images, some of which count more than once. Ties are half right, as everywhere."""

import numpy as np
from numpy.typing import NDArray

from thaw.metrics.weighted.contract import Values, Weights, ratio


def auroc(weights: Weights, scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> Values:
    """Return the probability that a member's score is above a non-member's.

    Args:
        scores, truths: (N,).

    Source: the Mann-Whitney statistic; Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    members, others = _by_score(weights, scores, truths)
    below = others.cumsum(axis=1) - others
    won = (members * (below + others / 2)).sum(axis=1)
    return ratio(won, members.sum(axis=1) * others.sum(axis=1))


def average_precision(weights: Weights, scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> Values:
    """Return the mean precision over the members, each at its own score; the area under steps, without interpolation.

    Args:
        scores, truths: (N,).
    """
    members, others = (one[:, ::-1] for one in _by_score(weights, scores, truths))
    found = members.cumsum(axis=1)
    precision = ratio(found, found + others.cumsum(axis=1), 0.0)
    return ratio((members * precision).sum(axis=1), members.sum(axis=1))


def _by_score(
    weights: Weights, scores: NDArray[np.float64], truths: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (R, K) how much members and non-members count at each of K different scores, lowest first."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    sorted_weights, member = weights[:, order], truths[order]
    return tuple(np.add.reduceat(sorted_weights * side, starts, axis=1) for side in (member, ~member))  # type: ignore[return-value] # two of them
