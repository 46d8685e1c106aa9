"""Outliers: how far each image is from what is usual in its set."""

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.4826
"""Standard deviation of a normal distribution, over its median absolute deviation."""


def distances(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return (N,) by how many standard deviations each value exceeds the median; negative below it.

    The deviation is estimated from the median absolute one, which up to half of the values cannot move.

    Args:
        least: standard deviation that is assumed at least, in the values' unit: where all but a few are the same, the
            smallest difference would be far.
    """
    middle = np.median(values)
    deviation = _NORMAL * np.median(np.abs(values - middle))
    far: NDArray[np.float64] = (values - middle) / max(float(deviation), least)
    return far
