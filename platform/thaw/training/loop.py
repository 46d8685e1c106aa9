"""The loop: ``for progress in fit(...)`` trains epoch by epoch, phase by phase.

No callbacks and no Ray: what happens between epochs, such as saving and telling, is written by the caller in
the body of its own loop, in the order in which it happens.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.optim import Optimizer

from thaw.config.experiment import Finetune
from thaw.data.feed import TARGET
from thaw.data.placement import Placement
from thaw.errors import ConfigError
from thaw.model import FinetuneModel
from thaw.tasks.contract import Task
from thaw.training import early_stopping, optimizer
from thaw.training.plan import FinetunePlan, Span
from thaw.training.weighting import Weighting
from thaw.training.workers import check_replicas, over_workers

Batch = Mapping[str, NDArray[Any]]
"""``pixels`` (B, 3, S, S) uint8 and ``target.<task>`` arrays."""

Batches = Callable[[int, int], Generator[Batch]]
"""The batches of steps from the first to before the second; closed when they are not wanted any more."""


class Epoch(BaseModel):
    """What one epoch came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    """Counted from 1 over all phases; epochs that early stopping skipped are skipped here too."""
    phase: int
    depth: int
    step: int
    """Steps done when the epoch ended."""
    train_loss: dict[str, float]
    val_loss: dict[str, float]
    metrics: dict[str, dict[str, float]]
    """Task -> metric -> value on the validation images."""
    score: float
    """Mean of the tasks' best metrics: what early stopping and the choice of the best checkpoint go by."""
    seconds: float
    images_per_s: float
    waiting: float
    """Share of the training time spent waiting for data."""


@dataclass
class State:
    """Where a run stands; with the weights, all that a restart needs.

    Attributes:
        step: steps done.
        history: the epochs so far.
        optimizer: holds what was open when ``step`` was done.
        weighting: how much each task counts.
    """

    optimizer: Optimizer
    weighting: Weighting
    step: int = 0
    history: list[Epoch] = field(default_factory=list)


@dataclass(frozen=True)
class Device:
    """Where and how precisely the arithmetic is done, and this worker's place in the group."""

    device: torch.device
    autocast: torch.dtype | None
    worker: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Progress:
    """Told after every epoch.

    Attributes:
        step_losses: (steps, tasks) this worker's share of the mean loss of every step, times the number of workers.
    """

    epoch: Epoch
    step_losses: Tensor


def fit(
    model: FinetuneModel,
    tasks: Mapping[str, Task],
    plan: FinetunePlan,
    options: Finetune,
    state: State,
    batches: Batches,
    validate: Callable[[], tuple[dict[str, float], dict[str, dict[str, float]]]],
    on: Device,
    seed: int,
    wrap: Callable[[FinetuneModel], nn.Module] = lambda model: model,
) -> Iterator[Progress]:
    """Train from where ``state`` stands to the end of the plan, and yield after every epoch.

    Args:
        validate: returns losses and metrics by task on the validation images.
        wrap: makes the model average its gradients over workers; called again whenever groups open, because
            weights that open after wrapping would never be averaged.

    Raises:
        ConfigError: the loss is no longer a finite number.
    """
    while state.step < plan.steps:
        span = plan.span_at(state.step)
        if _is_over(state, span.place, options):
            state.step = span.over
            continue
        model.open_groups(span.depth)
        optimizer.follow(state.optimizer, model, options.optimizer)
        trainer = _Trainer(wrap(model), tasks, plan, options, state, on, seed, model.open_weights())
        with closing(batches(state.step, span.stop)) as stream:
            while state.step < span.stop and not _is_over(state, span.place, options):
                yield _epoch(model, trainer, plan, span, state, stream, validate)
        check_replicas(model, on.device)


def _is_over(state: State, phase: int, options: Finetune) -> bool:
    """Return whether early stopping ends this phase here; read off the history, so a restart sees it too."""
    begun = bool(state.history) and state.history[-1].phase == phase
    return begun and early_stopping.is_due(state.history, options.early_stopping)


def _epoch(
    model: FinetuneModel,
    trainer: "_Trainer",
    plan: FinetunePlan,
    span: Span,
    state: State,
    stream: Iterator[Batch],
    validate: Callable[[], tuple[dict[str, float], dict[str, dict[str, float]]]],
) -> Progress:
    started, waited, images = time.perf_counter(), 0.0, 0
    model.train()
    first, losses, counts = state.step, [], []
    while state.step < (first // plan.epoch_steps + 1) * plan.epoch_steps:
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        loss, count = trainer.step(batch, state.step)
        losses.append(loss)
        counts.append(count)
        images += len(batch["pixels"]) * trainer.on.workers
        state.step += 1
    train_loss = trainer.mean_loss(torch.stack(losses), torch.stack(counts), state.step)
    trained_s = time.perf_counter() - started
    model.eval()
    val_loss, metrics = validate()
    epoch = Epoch(
        epoch=state.step // plan.epoch_steps,
        phase=span.place,
        depth=span.depth,
        step=state.step,
        train_loss=train_loss,
        val_loss=val_loss,
        metrics=metrics,
        score=_score(trainer.tasks, metrics),
        seconds=time.perf_counter() - started,
        images_per_s=images / trained_s,
        waiting=waited / trained_s,
    )
    state.history.append(epoch)
    return Progress(epoch, torch.stack(losses).cpu())


def _score(tasks: Mapping[str, Task], metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Return the mean of the best metrics of the tasks that had validation labels."""
    found = [metrics[name][task.best_metric] for name, task in tasks.items() if metrics.get(name)]
    return sum(found) / len(found) if found else 0.0


class _Trainer:
    """One optimizer step after another, at the rates of the plan."""

    def __init__(
        self,
        model: nn.Module,
        tasks: Mapping[str, Task],
        plan: FinetunePlan,
        options: Finetune,
        state: State,
        on: Device,
        seed: int,
        shared: Sequence[nn.Parameter],
    ) -> None:
        self.model, self.tasks, self.plan, self.options = model, tasks, plan, options
        self.optimizer, self.weighting, self.on, self.seed = state.optimizer, state.weighting, on, seed
        self.shared = shared
        self.learning = [weight for group in state.optimizer.param_groups for weight in group["params"]]

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Take one step; return, by task, this worker's share of the mean loss times the workers, and all labels."""
        torch.manual_seed(derived_seed(self.seed, step, self.on.worker))
        optimizer.set_rates(self.optimizer, self.plan.rates_at(step))
        sums, counts = losses(self.model, self.tasks, batch, self.on)
        everyone = over_workers(counts.clone())
        # DDP averages gradients over workers, so each worker's share is scaled up by their number: together they
        # are the gradient of the mean over all labelled images, however these fell to the workers.
        mean = sums * self.on.workers / everyone.clamp(min=1)
        self.weighting.learn(mean, everyone, self.shared)
        self.optimizer.zero_grad(set_to_none=True)
        (mean * self.weighting.weights).sum().backward()  # type: ignore[no-untyped-call]
        if self.options.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.learning, self.options.optimizer.clip_norm)
        self.optimizer.step()
        return mean.detach(), everyone

    def mean_loss(self, means: Tensor, counts: Tensor, step: int) -> dict[str, float]:
        """Return the mean loss of each task over an epoch's labelled images, on all workers."""
        own = means * counts / self.on.workers
        total = over_workers(own.sum(dim=0)) / counts.sum(dim=0).clamp(min=1)
        if not bool(torch.isfinite(total).all()):
            place = f"finetune.phases[{self.plan.phase_at(step - 1)}].rates"
            raise ConfigError(f"{place}: the loss is not a finite number after step {step}; lower these rates")
        seen = counts.sum(dim=0).tolist()
        return {name: float(value) for name, value, count in zip(self.tasks, total, seen, strict=True) if count}


def derived_seed(seed: int, step: int, worker: int) -> int:
    """Return the seed of what is random inside a step, such as dropout: nothing carries over from the step before."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{worker}".encode(), digest_size=8).digest(), "little")


def losses(model: nn.Module, tasks: Mapping[str, Task], batch: Batch, on: Device) -> tuple[Tensor, Tensor]:
    """Return (tasks,) losses summed over this worker's labelled images, and (tasks,) their numbers."""
    targets = {name: target(batch, name, on) for name in tasks}
    outputs = forward(model, batch, on, targets)
    found = [task.loss(outputs[name], targets[name]) for name, task in tasks.items()]
    return torch.stack([total for total, _ in found]), torch.stack([count for _, count in found])


def forward(model: nn.Module, batch: Batch, on: Device, targets: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Return task name -> fp32 outputs of a batch, computed at the device's precision."""
    pixels = torch.as_tensor(batch["pixels"]).to(on.device, non_blocking=True)
    with torch.autocast(on.device.type, dtype=on.autocast, enabled=on.autocast is not None):
        outputs: dict[str, Any] = model(pixels, targets)
    return outputs


def target(batch: Batch, task: str, on: Device) -> Tensor:
    """Return a task's targets on the device."""
    return torch.as_tensor(batch[TARGET + task]).to(on.device, non_blocking=True)


@torch.inference_mode()
def evaluate(
    model: FinetuneModel, tasks: Mapping[str, Task], batches: Iterator[Batch], on: Device
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return mean losses and metrics by task over batches, joined over all workers."""
    meters = {name: task.meter() for name, task in tasks.items()}
    sums = torch.zeros(len(tasks), device=on.device)
    counts = torch.zeros(len(tasks), device=on.device, dtype=torch.int64)
    for batch in batches:
        outputs = forward(model, batch, on)
        placements = [Placement.unchanged(batch["pixels"].shape[-1])] * len(batch["pixels"])
        for place, (name, task) in enumerate(tasks.items()):
            targets = target(batch, name, on)
            total, count = task.loss(outputs[name], targets)
            sums[place] += total
            counts[place] += count
            meters[name].update(task.decode(outputs[name], placements), task.labels.annotations(batch[TARGET + name]))
    sums, counts = over_workers(sums), over_workers(counts)
    mean = {name: float(sums[place] / counts[place]) for place, name in enumerate(tasks) if counts[place]}
    return mean, {name: meter.compute() for name, meter in meters.items()}
