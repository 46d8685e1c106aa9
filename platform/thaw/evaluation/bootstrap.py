"""Bootstrap: how far a figure would move with other test images of the same kind.

Images are drawn with replacement, as many from each stratum as it has, so that a draw has the classes of the set. All
figures of a task are computed from the same draws, and those of two models compared on the same images as well: the
difference is then that of pairs.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.metrics.weighted.contract import Sample, Values, Weights

DRAWS = 2000
LEVEL = 0.95
_LEAST = 0.5
"""Share of the draws in which a figure must have a value for an interval to be told."""


class Interval(BaseModel):
    """A figure with the interval that holds the truth in 95 of 100 such measurements."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


def draws(strata: NDArray[np.int64], seed: int, count: int = DRAWS) -> Weights:
    """Return (count, N) how often each image is drawn, the same for the same seed.

    Args:
        strata: (N,) which images are alike.
    """
    random = np.random.default_rng(seed)
    found = np.zeros((count, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        found[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), count)
    return found


def intervals(sample: Sample, weights: Weights) -> dict[str, Interval]:
    """Return metric -> interval, for those that have a value."""
    return told(sample.metrics(np.ones((1, len(sample)))), sample.metrics(weights))


def by_class(sample: Sample, weights: Weights) -> dict[str, dict[str, Interval]]:
    """Return class name -> metric -> interval, for the classes that occur."""
    whole, drawn = sample.by_class(np.ones((1, len(sample)))), sample.by_class(weights)
    found = {name: told(values, drawn[name]) for name, values in whole.items() if name in drawn}
    return {name: values for name, values in found.items() if values}


def told(whole: Mapping[str, Values], drawn: Mapping[str, Values]) -> dict[str, Interval]:
    """Return metric -> interval, given metrics of all images once, as (1,), and of all draws.

    The interval is that of the percentiles of the draws (Efron and Tibshirani 1993, chapter 13).
    """
    found = {}
    for name, [value] in whole.items():
        values = drawn[name][~np.isnan(drawn[name])]
        if not np.isnan(value) and len(values) >= _LEAST * len(drawn[name]):
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found[name] = Interval(value=float(value), low=float(low), high=float(high))
    return found
