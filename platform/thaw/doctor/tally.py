"""Tally: what some workers learnt of the same global batches, to be held against what one worker learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LOSS_APART = 1e-4
"""Losses of as many workers may be this far apart: sums in another order round differently."""
WEIGHTS_APART = 1e-3
"""And weights, relative to the largest change that a weight underwent."""


@dataclass(frozen=True)
class Tally:
    """What a number of workers came to.

    Attributes:
        failure: why they did not come to the end; empty where they did.
        digests: of each worker's weights, in the end.
        losses: of every task in every epoch, on training and on validation images.
        moved: name -> how far each weight is from where it began.
    """

    workers: int
    seconds: float
    failure: str = ""
    digests: Sequence[str] = ()
    losses: Sequence[float] = ()
    moved: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def agrees_with_itself(self) -> bool:
        """Whether all workers hold the same weights, bit for bit."""
        return len(set(self.digests)) == 1


def apart(one: Tally, many: Tally) -> tuple[float, float]:
    """Return how far losses and weights of two numbers of workers are apart.

    Returns:
        The largest difference of a loss, and that of a weight relative to the farthest that any weight moved.
    """
    losses = max((abs(a - b) for a, b in zip(one.losses, many.losses, strict=True)), default=float("inf"))
    farthest = max((float(np.abs(moved).max(initial=0)) for moved in one.moved.values()), default=0.0)
    weights = max((float(np.abs(moved - many.moved[name]).max(initial=0)) for name, moved in one.moved.items()))
    return losses, weights / farthest if farthest else float("inf")
