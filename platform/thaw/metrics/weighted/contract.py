"""What the images of a task come to under weightings."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
"""(R, N): how often each of N images counts, in each of R weightings."""
Values = NDArray[np.float64]
"""(R,): a metric in each weighting; NaN where it has none."""


class Sample(Protocol):
    """Answers to N labelled images, and what these carry."""

    def __len__(self) -> int:
        """Return N."""

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return the metrics of the task as a whole, by the names that its meter gives them."""

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return class name -> metric -> values, for the classes that occur."""

    def goodness(self) -> NDArray[np.float64]:
        """Return (N,) how good each answer is by itself, from 0 to 1."""

    def strata(self) -> NDArray[np.int64]:
        """Return (N,) which images are alike in what they carry, so that a draw keeps how many there are of each."""


def ratio(above: NDArray[np.float64], below: NDArray[np.float64], empty: float = np.nan) -> NDArray[np.float64]:
    """Return the elementwise quotient, and ``empty`` where it would be one by zero."""
    found = np.full(np.broadcast_shapes(above.shape, below.shape), empty)
    np.divide(above, below, out=found, where=below != 0)
    return found


def mean_over(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Values:
    """Return the mean over the last axis of what is counted."""
    return ratio(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1).astype(np.float64))
