"""Calibration: the temperature that makes a head's scores mean what they say, and how far they are from it.

One number a head, so that few validation images suffice, and no answer changes by it but its score.
"""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from thaw.metrics import calibration
from thaw.metrics.calibration import Bin
from thaw.metrics.weighted.contract import Sample

_RANGE = math.log(0.05), math.log(20.0)
"""Of the logarithm of what outputs are multiplied by."""
_STEPS = 60
_GOLDEN = (math.sqrt(5) - 1) / 2


class Reliability(BaseModel):
    """How well scores are to be believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: float
    """Expected calibration error, in [0, 1]."""
    bins: tuple[Bin, ...]


def temperature(sample: Sample) -> float:
    """Return what outputs are best divided by: where the truth is least surprising.

    1 where answers have no scores, or where all are right or all wrong: then the best would have no bound.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2; by golden-section search, as the likelihood has one maximum.
    """
    judged = sample.judged()
    if judged is None or len(np.unique(judged[1])) < 2:
        return 1.0
    low, high = _RANGE
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if sample.surprise(math.exp(left)) < sample.surprise(math.exp(right)):
            high = right
        else:
            low = left
    return math.exp(-(low + high) / 2)


def reliability(sample: Sample) -> Reliability | None:
    """Return how well a sample's scores are to be believed; None where it has none."""
    judged = sample.judged()
    if judged is None or not len(judged[0]):
        return None
    bins = calibration.reliability(*judged)
    return Reliability(error=calibration.expected_calibration_error(bins), bins=tuple(bins))
