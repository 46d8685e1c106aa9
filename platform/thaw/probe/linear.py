"""Linear: the best linear head on fixed vectors, by the task's own loss.

Cross-entropy of such a head is convex, so where it ends depends neither on a learning rate nor on a seed. Only tasks
that look at the pooled vector alone have such a head; those that look at places, for boxes and masks, have none.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thaw.data.placement import Placement
from thaw.probe.descent import descend
from thaw.probe.embedding import Vectors
from thaw.tasks.contract import Task

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Shares of half the squared norm of the weights in the loss, strongest first. The bias is not penalised."""
_MOST_STEPS = 200
_TOLERANCE = 1e-5
"""Largest derivative at which the optimum counts as reached."""
_BATCH = 1024


@dataclass(frozen=True)
class Best:
    """What the best head came to.

    Attributes:
        metrics: on the validation images; empty where there are no labels to learn from or to compare with.
        penalty: the one it was found with.
    """

    metrics: dict[str, float]
    penalty: float | None


def has_linear_head(task: Task) -> bool:
    """Return whether a task's head is linear in the pooled vector."""
    return task.finest is None


def best(task: Task, train: Vectors, val: Vectors) -> Best:
    """Return what the best head of a task comes to, over all `PENALTIES`.

    The penalty is chosen by the metric that is returned, on the same images, so the figure is a little too good: alike
    for every backbone, which is what it is to be compared with.
    """
    features, targets = train.labelled(task)
    others, truth = val.labelled(task)
    if not len(features) or not len(others):
        return Best({}, None)
    mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
    std = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # what never changes tells nothing
    features, others = (features - mean) / std, (others - mean) / std
    head, found = new_head(features.shape[1], len(task.labels.names)), Best({}, None)
    for penalty in PENALTIES:  # each begins where the one before ended
        fit(head, task, features, torch.from_numpy(targets), penalty)
        metrics = measure(head, task, others, truth)
        if not found.metrics or metrics[task.best_metric] > found.metrics[task.best_metric]:
            found = Best(metrics, penalty)
    return found


def new_head(features: int, classes: int) -> nn.Linear:
    """Return a head that answers nothing yet."""
    head = nn.Linear(features, classes, dtype=torch.float64)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def fit(head: nn.Linear, task: Task, features: Tensor, targets: Tensor, penalty: float) -> None:
    """Move a head to the least mean loss of labelled images plus its penalty."""
    descend(
        list(head.parameters()),
        lambda: objective(head, task, features, targets, penalty),
        _MOST_STEPS,
        _TOLERANCE,
    )


def objective(head: nn.Linear, task: Task, features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Return what `fit` makes least."""
    total, count = task.loss(head(features), targets)
    return total / count + penalty / 2 * head.weight.square().sum()


@torch.inference_mode()
def measure(head: nn.Linear, task: Task, features: Tensor, targets: NDArray[np.int64]) -> dict[str, float]:
    """Return the task's metrics of a head's answers."""
    meter = task.meter()
    for start in range(0, len(features), _BATCH):
        outputs = head(features[start : start + _BATCH])
        nowhere = [Placement.unchanged(1)] * len(outputs)  # answers are of no place here
        meter.update(task.decode(outputs, nowhere), task.labels.annotations(targets[start : start + _BATCH]))
    return meter.compute()
