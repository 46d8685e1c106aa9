"""Weighting: how much each task's loss counts, fixed or learnt while training.

Learnt weights move by plain gradient steps on figures that are the same on every worker, so they need neither
autograd nor an exchange of their own, and a restart continues them exactly.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from thaw.config.experiment import Weighting as Options
from thaw.tasks.contract import Task
from thaw.training.workers import over_workers


class Weighting:
    """The weights of all tasks, step by step.

    Attributes:
        weights: (T,) what each task's mean loss is multiplied by.
    """

    def __init__(self, tasks: Mapping[str, Task], options: Options, device: torch.device) -> None:
        """Begin with the tasks' own weights."""
        self._options = options
        self._own = torch.tensor([task.options.weight for task in tasks.values()], device=device)
        self._log_variance = torch.zeros(len(tasks), device=device)
        self._speed = torch.ones(len(tasks), device=device)
        self._first = torch.zeros(len(tasks), device=device)

    @property
    def weights(self) -> Tensor:
        """(T,) weights of this step."""
        if self._options.by == "uncertainty":
            return self._own * torch.exp(-self._log_variance)
        return self._own * self._speed if self._options.by == "gradnorm" else self._own

    def compare(self, means: Tensor, counts: Tensor, shared: Sequence[nn.Parameter]) -> None:
        """Move weights that go by the tasks' gradients; called before the backward pass of a step.

        Args:
            means: (T,) this worker's share of each task's mean loss, times the workers; still with its graph.
            counts: (T,) labelled images on all workers; a task without any keeps its weight.
            shared: open weights below the heads, the last first; what counts is the first that all tasks depend on.
        """
        if self._options.by == "gradnorm" and shared and bool((counts > 0).all()):
            self._learn_speed(means, shared)

    def learn(self, means: Tensor, counts: Tensor) -> None:
        """Move weights that go by the tasks' losses; called after a step, for the next one."""
        if self._options.by == "uncertainty":
            losses = _over_all(means)
            self._learn_variance(losses, (counts > 0) & torch.isfinite(losses))

    def _learn_variance(self, losses: Tensor, seen: Tensor) -> None:
        """Follow the gradient of exp(-s) L + s / 2, s being the log of a task's variance.

        Source: Kendall et al. 2018, arXiv:1705.07115, eq. 10, in the form of its section 3.2.
        """
        gradient = 0.5 - torch.exp(-self._log_variance) * losses
        moved = self._log_variance - self._options.rate * gradient
        self._log_variance = torch.where(seen, moved.clamp(-math.log(100), math.log(100)), self._log_variance)

    def _learn_speed(self, means: Tensor, shared: Sequence[nn.Parameter]) -> None:
        """Bring the tasks' gradients at a shared weight to norms that even out their speeds.

        Source: Chen et al. 2018, arXiv:1711.02257, algorithm 1.
        """
        norms = _norms(means, shared)
        if norms is None:
            return
        losses = _over_all(means.detach()).clamp(min=1e-8)
        self._first = torch.where(self._first == 0, losses, self._first)
        progress = losses / self._first
        weighted = self.weights * norms
        target = weighted.mean() * (progress / progress.mean()) ** self._options.alpha
        step = self._options.rate * torch.sign(weighted - target) * norms / norms.mean().clamp(min=1e-8)
        speed = (self._speed - step).clamp(min=0.01)
        self._speed = speed * len(speed) / speed.sum()

    def state(self) -> dict[str, Tensor]:
        """Return all that a restart needs."""
        return {"log_variance": self._log_variance, "speed": self._speed, "first": self._first}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        device = self._own.device
        self._log_variance, self._speed, self._first = (
            state[name].to(device) for name in ("log_variance", "speed", "first")
        )


def _norms(means: Tensor, shared: Sequence[nn.Parameter]) -> Tensor | None:
    """Return (T,) norms of each task's gradient, over all workers, at the first weight that all tasks depend on."""
    for weight in shared:
        found = [torch.autograd.grad(mean, weight, retain_graph=True, materialize_grads=True) for mean in means]
        norms = torch.stack([_over_all(gradient).norm() for [gradient] in found])
        if bool((norms > 0).all()):
            return norms
    return None


def _over_all(value: Tensor) -> Tensor:
    """Return the mean over workers of a tensor that is already scaled by their number."""
    joined = over_workers(value.clone())
    size = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    return joined / size
