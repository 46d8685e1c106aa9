"""Answers: what linear heads that learnt from growing subsets say of the same validation images.

The penalty of each head is the one with the least loss on validation, of those about that of the next smaller subset.
So figures are a little too good, alike at all sizes, as are those of thaw.probe.linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.probe import axes
from thaw.probe.axes import Axes, Head
from thaw.probe.curve import subsets
from thaw.probe.embedding import Vectors
from thaw.probe.linear import PENALTIES
from thaw.tasks.contract import Task

DRAWS = 8
"""Subsets of each size but the largest, which is all images."""


@dataclass(frozen=True)
class Ground:
    """One task's labelled images along the axes of all training images, labelled or not.

    Attributes:
        places: (M, K) of the training images.
        targets: of these: (M,) class indices, or (M, C) zeros and ones.
        others: (N, K) of the validation images.
        truth: of these.
        sizes: (S,) how many training images are learnt from.
    """

    task: Task
    axes: Axes
    places: Tensor
    targets: NDArray[np.int64]
    others: Tensor
    truth: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, task: Task, train: Vectors, val: Vectors) -> Self:
        """Return the ground of a task that both have labels of."""
        turned = Axes.of(torch.from_numpy(train.features))
        features, targets = train.labelled(task)
        others, truth = val.labelled(task)
        sizes = subsets.sizes(len(targets), len(task.labels.names))
        return cls(task, turned, turned.places(features), targets, turned.places(others), truth, sizes)

    @property
    def shares(self) -> NDArray[np.float64]:
        """(S,) sizes as shares of the largest one."""
        return np.asarray(self.sizes / self.sizes[-1])


def drawn(ground: Ground, seed: int, draw: int) -> NDArray[np.int64]:
    """Return answers of heads that learnt from nested subsets, the smallest first.

    Returns:
        (S, N) classes, or (S, N, C) zeros and ones; without the last of the S in all draws but the first, for it is of
        all images in each.
    """
    order = subsets.order(ground.targets, seed, draw)
    head, at, found = Head.blank(ground.axes, len(ground.task.labels.names)), 0, []
    for size in ground.sizes[: len(ground.sizes) - (draw > 0)]:
        head, at = _best(ground, order[:size], head, at)
        found.append(_answers(ground, head))
    return np.array(found)


def joined(draws: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return (S, R, N) or (S, R, N, C) the answers of R draws as `drawn` gives them, the first one's first."""
    last = draws[0][-1:]
    return np.stack([draws[0], *(np.concatenate([one, last]) for one in draws[1:])], axis=1)


def _best(ground: Ground, rows: NDArray[np.int64], start: Head, at: int) -> tuple[Head, int]:
    """Return the head of the best penalty and its place, from one stronger than ``at`` on until it gets worse."""
    best, least = start, float("inf")
    for place in range(max(at - 1, 0), len(PENALTIES)):
        start = _fitted(ground, rows, start, PENALTIES[place])
        loss = float(_loss(ground.task, start(ground.others), ground.truth))
        if loss >= least:
            break
        best, least, at = start, loss, place
    return best, at


def _fitted(ground: Ground, rows: NDArray[np.int64], start: Head, penalty: float) -> Head:
    targets = ground.targets[rows]
    return axes.fit(
        start,
        ground.axes,
        ground.places[torch.from_numpy(rows)],
        lambda outputs: _loss(ground.task, outputs, targets),
        penalty,
    )


def _loss(task: Task, outputs: Tensor, targets: NDArray[np.int64]) -> Tensor:
    total, count = task.loss(outputs, torch.from_numpy(targets))
    return total / count


def _answers(ground: Ground, head: Head) -> NDArray[np.int64]:
    outputs = head(ground.others)
    if ground.truth.ndim == 1:
        return np.asarray(outputs.argmax(dim=1).numpy())
    return np.asarray((outputs.sigmoid() >= ground.task.options.threshold).long().numpy())
