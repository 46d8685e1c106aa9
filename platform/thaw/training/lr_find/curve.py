"""Curve: the loss at each rate of a sweep, what it is without learning, and the rate that follows from both.

Every batch has a loss of its own, and on a small set batches differ by more than a hundred steps gain. So each loss is
compared with that of the very same batch, changed and masked by the same random numbers, on the model as it is when
what is swept does not learn; only the differences are smoothed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

ROOM = 10.0
"""By how much the suggested rate stays below the one where the loss was lowest."""

_SPAN = 0.1
"""Steps that the moving average looks back, as a share of all: its lag is the same share of the range of rates."""

Losses = Mapping[str, float]
"""Task -> mean loss of a batch; without the tasks that no image of the batch has a label for."""


class Curve(BaseModel):
    """Losses against rates, step by step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: tuple[float, ...]
    """The rising rates, as far as the sweep came."""
    losses: tuple[dict[str, float], ...]
    """At each rate, task -> mean loss of the batch, before the step at this rate."""
    resting: tuple[dict[str, float], ...]
    """The same batches' losses where what is swept does not learn; of all steps that were asked for."""
    weights: dict[str, float]
    """Task -> how much it counts."""

    @property
    def level(self) -> float:
        """Mean loss where what is swept does not learn, over all batches."""
        return sum(self.weights[task] * value for task, value in levels(self.resting).items())

    @property
    def ended_early(self) -> bool:
        """Whether the sweep ended before the highest rate, because the loss rose too far."""
        return len(self.rates) < len(self.resting)

    def smoothed(self) -> tuple[float, ...]:
        """Return the loss at each rate, smoothed, and the tasks by their weights summed."""
        return tuple(
            sum(self.weights[task] * value for task, value in one.items())
            for one in smoothed(self.losses, self.resting)
        )

    def smoothed_by_task(self) -> dict[str, tuple[float, ...]]:
        """Return each task's loss at each rate, smoothed."""
        found = list(smoothed(self.losses, self.resting))
        return {task: tuple(one[task] for one in found) for task in found[0]}

    @property
    def lowest_at(self) -> int:
        """The place of the lowest smoothed loss."""
        values = self.smoothed()
        return values.index(min(values))

    @property
    def suggestion(self) -> float:
        """The rate to train at: a tenth of that where the smoothed loss was lowest, to two digits.

        Where it is lowest, the gain of each step has just stopped, so that rate is already too high to begin with; a
        tenth of it is an old rule of practice for reading the range test of Smith 2017, arXiv:1506.01186, section 3.3.
        """
        return float(f"{self.rates[self.lowest_at] / ROOM:.1e}")


def smoothed(losses: Iterable[Losses], resting: Sequence[Losses]) -> Iterator[dict[str, float]]:
    """Yield the smoothed loss by task after each step: the mean resting loss, plus the differences' moving average.

    The average is exponential and corrected for its start at zero (Kingma and Ba 2015, arXiv:1412.6980, section 3). A
    task keeps its value over a batch without labels for it.
    """
    keep = 1 - 1 / max(1.0, _SPAN * len(resting))
    level = levels(resting)
    moved, share = dict.fromkeys(level, 0.0), dict.fromkeys(level, 0.0)
    for loss, rest in zip(losses, resting, strict=False):  # a sweep may end early
        for task in loss.keys() & rest.keys():
            moved[task] = keep * moved[task] + (1 - keep) * (loss[task] - rest[task])
            share[task] = keep * share[task] + (1 - keep)
        yield {task: level[task] + (moved[task] / share[task] if share[task] else 0.0) for task in level}


def levels(resting: Sequence[Losses]) -> dict[str, float]:
    """Return each task's mean loss over the batches that have labels for it."""
    tasks = dict.fromkeys(itertools.chain.from_iterable(resting))
    found = {task: [one[task] for one in resting if task in one] for task in tasks}
    return {task: sum(values) / len(values) for task, values in found.items()}
