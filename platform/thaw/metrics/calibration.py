"""Calibration: whether answers with a score of 0.8 are right in four cases of five."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thaw.errors import DataError

BINS = 15


class Bin(NamedTuple):
    """Answers whose scores lie close together."""

    low: float
    high: float
    answers: int
    confidence: float
    """Their mean score."""
    accuracy: float
    """Share of them that is right."""


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Return the bins of equal width on [0, 1] that hold any answer, lowest first.

    Args:
        confidence, right: (N,).

    Raises:
        DataError: the lengths differ.
    """
    if len(confidence) != len(right):
        raise DataError(f"{len(confidence)} scores and {len(right)} judgements: they must be equally many")
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for number in np.unique(place):
        here = place == number
        means = float(confidence[here].mean()), float(right[here].mean())
        found.append(Bin(float(number / bins), float((number + 1) / bins), int(here.sum()), *means))
    return found


def expected_calibration_error(bins: list[Bin]) -> float:
    """Return the gap between score and share that is right, in [0, 1], each bin counting by its answers.

    Raises:
        DataError: there are no answers.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    count = sum(one.answers for one in bins)
    if not count:
        raise DataError("without answers there is nothing to calibrate")
    return sum(one.answers * abs(one.confidence - one.accuracy) for one in bins) / count
