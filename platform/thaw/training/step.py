"""Step: one optimizer step, computed in one piece or in as many as the memory asks for.

When steps are taken, and what is told of them, is the loop's business.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thaw.config.experiment import Finetune
from thaw.data.feed import TARGET
from thaw.errors import LossError
from thaw.model import FinetuneModel
from thaw.tasks.contract import Task
from thaw.training import optimizer
from thaw.training.plan import FinetunePlan
from thaw.training.state import State
from thaw.training.workers import over_workers

Batch = Mapping[str, NDArray[Any] | Tensor]
"""``target.<task>`` arrays with ``pixels`` (B, 3, S, S) uint8, or in their place, as ``cut.<name>``, what the frozen
layers made of them; as tensors once they are on the device. The rows of every array are images."""

CUT = "cut."


@dataclass(frozen=True)
class Device:
    """Where and how precisely the arithmetic is done, and this worker's place in the group.

    Attributes:
        pieces: in how many pieces this worker computes its share of a training batch.
    """

    device: torch.device
    autocast: torch.dtype | None
    worker: int = 0
    workers: int = 1
    pieces: int = 1


class Trainer:
    """One optimizer step after another, at the rates of the plan."""

    def __init__(
        self,
        wrapped: nn.Module,
        model: FinetuneModel,
        tasks: Mapping[str, Task],
        plan: FinetunePlan,
        options: Finetune,
        state: State,
        on: Device,
        seed: int,
    ) -> None:
        """Train what is open now.

        Args:
            wrapped: the model as it is called: it averages gradients over the workers.
        """
        self.wrapped, self.model, self.tasks, self.plan, self.options = wrapped, model, tasks, plan, options
        self.state, self.on, self.seed = state, on, seed
        self.shared = model.open_weights()
        self.learning = [weight for group in state.optimizer.param_groups for weight in group["params"]]

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Take one step; return, by task, this worker's share of the mean loss times the workers, and all labels."""
        batch = {name: on_device(values, self.on) for name, values in batch.items()}
        everyone = over_workers(
            torch.stack([task.labelled(target(batch, name, self.on)).sum() for name, task in self.tasks.items()])
        )
        optimizer.set_rates(self.state.optimizer, self.plan.rates_at(step))
        self.state.optimizer.zero_grad(set_to_none=True)
        pieces = cut(batch, self.on.pieces)
        means = [self._backward(piece, everyone, step, place, len(pieces)) for place, piece in enumerate(pieces)]
        mean = torch.stack(means).sum(dim=0)
        self._move()
        self.state.weighting.learn(mean, everyone)
        if self.state.average:
            self.state.average.follow(self.model, step + 1)
        return mean, everyone

    def _backward(self, piece: Batch, everyone: Tensor, step: int, place: int, pieces: int) -> Tensor:
        """Add one piece's gradient to what is there, and return (T,) its share of the mean loss, times the workers."""
        torch.manual_seed(derived_seed(self.seed, step, self.on.worker, place))
        with nullcontext() if place == pieces - 1 else self._unshared():
            sums, _ = losses(self.wrapped, self.tasks, piece, self.on)
            # DDP averages gradients over workers, so each worker's share is scaled up by their number: together they
            # are the gradient of the mean over all labelled images, however these fell to the workers and pieces.
            mean = sums * self.on.workers / everyone.clamp(min=1)
            self.state.weighting.compare(mean, everyone, self.shared)
            total = (mean * self.state.weighting.weights).sum()
            self.state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        return mean.detach()

    def _unshared(self) -> AbstractContextManager[None]:
        """Return a context in which gradients are added up here, to be averaged over workers with the last piece."""
        no_sync = getattr(self.wrapped, "no_sync", nullcontext)  # a model that is not wrapped has none
        found: AbstractContextManager[None] = no_sync()
        return found

    def _move(self) -> None:
        """Move the weights along their gradients; with fp16 a step whose gradients overflow is passed over."""
        scaler = self.state.scaler
        scaler.unscale_(self.state.optimizer)
        if self.options.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.learning, self.options.optimizer.clip_norm)
        scaler.step(self.state.optimizer)
        scaler.update()

    def mean_loss(self, means: Tensor, counts: Tensor, step: int) -> dict[str, float]:
        """Return the mean loss of each task over an epoch's labelled images, on all workers.

        With fp16 the steps whose loss was too large for it, which moved no weight, are left out while there are others.

        Raises:
            LossError: it is not a finite number.
        """
        own = means * counts / self.on.workers
        if self.state.scaler.is_enabled():
            finite = torch.isfinite(over_workers(own.clone()))
            some = (finite & (counts > 0)).any(dim=0)
            own, counts = (torch.where(finite | ~some, one, torch.zeros_like(one)) for one in (own, counts))
        total = over_workers(own.sum(dim=0)) / counts.sum(dim=0).clamp(min=1)
        if not bool(torch.isfinite(total).all()):
            place = f"finetune.phases[{self.plan.phase_at(step - 1)}].rates"
            raise LossError(f"{place}: the loss is not a finite number after step {step}; lower these rates")
        seen = counts.sum(dim=0).tolist()
        return {name: float(value) for name, value, count in zip(self.tasks, total, seen, strict=True) if count}


def derived_seed(seed: int, step: int, worker: int, piece: int = 0) -> int:
    """Return the seed of what is random inside a step, such as dropout: nothing carries over from the step before."""
    text = f"{seed}/{step}/{worker}" + (f"/{piece}" if piece else "")
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def cut(batch: Batch, pieces: int) -> Sequence[Batch]:
    """Return a batch in at most so many pieces, whose lengths differ by one at most."""
    size = images_in(batch)
    edges = [size * place // pieces for place in range(pieces + 1)]
    return [
        {name: values[start:stop] for name, values in batch.items()} for start, stop in pairwise(edges) if start < stop
    ]


def images_in(batch: Batch) -> int:
    """Return how many images a batch is of."""
    return len(next(iter(batch.values())))


def losses(model: nn.Module, tasks: Mapping[str, Task], batch: Batch, on: Device) -> tuple[Tensor, Tensor]:
    """Return (tasks,) losses summed over this worker's labelled images, and (tasks,) their numbers."""
    targets = {name: target(batch, name, on) for name in tasks}
    outputs = forward(model, batch, on, targets)
    found = [task.loss(outputs[name], targets[name]) for name, task in tasks.items()]
    return torch.stack([total for total, _ in found]), torch.stack([count for _, count in found])


def forward(model: nn.Module, batch: Batch, on: Device, targets: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Return task name -> fp32 outputs of a batch, computed at the device's precision."""
    seen = _seen(batch, on)
    with torch.autocast(on.device.type, dtype=on.autocast, enabled=on.autocast is not None):
        outputs: dict[str, Any] = model(seen, targets)
    return outputs


def _seen(batch: Batch, on: Device) -> Tensor | dict[str, Tensor]:
    """Return what the model is given of a batch."""
    if "pixels" in batch:
        return on_device(batch["pixels"], on)
    return {name.removeprefix(CUT): on_device(value, on) for name, value in batch.items() if name.startswith(CUT)}


def target(batch: Batch, task: str, on: Device) -> Tensor:
    """Return a task's targets on the device."""
    return on_device(batch[TARGET + task], on)


def on_device(values: NDArray[Any] | Tensor, on: Device) -> Tensor:
    """Return values on the device; a GPU fetches them from pinned memory, while this thread goes on."""
    tensor = torch.as_tensor(values)
    if on.device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(on.device, non_blocking=True)
