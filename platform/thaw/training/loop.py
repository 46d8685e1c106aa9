"""The loop: ``for progress in fit(...)`` trains epoch by epoch, phase by phase.

No callbacks and no Ray: what happens between epochs, such as saving and telling, is written by the caller in
the body of its own loop, in the order in which it happens.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from thaw.config.experiment import Finetune
from thaw.data.feed import TARGET
from thaw.data.placement import Placement
from thaw.model import FinetuneModel
from thaw.tasks.contract import Meter, Task
from thaw.training import early_stopping, optimizer
from thaw.training.plan import FinetunePlan, Span
from thaw.training.state import Begun
from thaw.training.state import Epoch as Epoch
from thaw.training.state import State as State
from thaw.training.step import Batch as Batch
from thaw.training.step import Device as Device
from thaw.training.step import Trainer, forward, images_in, target
from thaw.training.workers import by_worker, check_replicas, over_workers

Measured = tuple[dict[str, float], dict[str, dict[str, float]]]
"""Losses by task, and metrics by task."""

Batches = Callable[[int, int], Generator[Batch]]
"""The batches of steps from the first to before the second; closed when they are not wanted any more."""


@dataclass(frozen=True)
class Progress:
    """Told after every epoch.

    Attributes:
        step_losses: (steps, tasks) this worker's share of the mean loss of every step, times the number of workers.
    """

    epoch: Epoch
    step_losses: Tensor


@dataclass(frozen=True)
class Pause:
    """Told inside an epoch: here, too, the state is whole and can be saved.

    Attributes:
        step: steps done.
    """

    step: int


def fit(
    model: FinetuneModel,
    tasks: Mapping[str, Task],
    plan: FinetunePlan,
    options: Finetune,
    state: State,
    batches: Batches,
    validate: Callable[[], Measured],
    on: Device,
    seed: int,
    wrap: Callable[[FinetuneModel], nn.Module] = lambda model: model,
    excerpt: Callable[[], Measured] = lambda: ({}, {}),
    pause_steps: int | None = None,
) -> Iterator[Progress | Pause]:
    """Train from where ``state`` stands to the end of the plan, and yield after every epoch.

    Args:
        validate: measures ``state.served(model)`` on the validation images.
        wrap: makes the model average its gradients over workers; called again whenever groups open, because
            weights that open after wrapping would never be averaged.
        excerpt: measures it on a few unchanged training images.
        pause_steps: also yield a `Pause` after every so many steps, where no epoch ends.

    Raises:
        LossError: the loss is no longer a finite number.
    """
    while state.step < plan.steps:
        span = plan.span_at(state.step)
        if _is_over(state, span.place, options):
            state.step = span.over
            continue
        state.step = max(state.step, span.start)  # the phase before may have stopped ahead of its last epoch
        model.open_groups(span.depth)
        optimizer.follow(state.optimizer, model, options.optimizer)
        trainer = Trainer(wrap(model), model, tasks, plan, options, state, on, seed)
        with closing(batches(state.step, span.stop)) as stream:
            while state.step < span.stop and not _is_over(state, span.place, options):
                yield from _epoch(model, trainer, plan, span, state, stream, validate, excerpt, pause_steps)
        check_replicas(model, on.device)


def _is_over(state: State, phase: int, options: Finetune) -> bool:
    """Return whether early stopping ends this phase here; read off the history, so a restart sees it too."""
    begun = bool(state.history) and state.history[-1].phase == phase
    return begun and early_stopping.is_due(state.history, options.early_stopping)


def _epoch(
    model: FinetuneModel,
    trainer: Trainer,
    plan: FinetunePlan,
    span: Span,
    state: State,
    stream: Iterator[Batch],
    validate: Callable[[], Measured],
    excerpt: Callable[[], Measured],
    pause_steps: int | None,
) -> Iterator[Progress | Pause]:
    """Train to the end of the epoch that ``state`` stands in, from its beginning or from a pause."""
    started, waits, images = time.perf_counter(), list[float](), 0
    model.train()
    stop = (state.step // plan.epoch_steps + 1) * plan.epoch_steps
    losses, counts = _steps_done(state, trainer.on)
    while state.step < stop:
        asked = time.perf_counter()
        batch = next(stream)
        waits.append(time.perf_counter() - asked)
        loss, count = trainer.step(batch, state.step)
        losses.append(loss)
        counts.append(count)
        images += images_in(batch) * trainer.on.workers
        state.step += 1
        if pause_steps and state.step % pause_steps == 0 and state.step < stop:
            paused = time.perf_counter()
            state.begun = Begun(
                by_worker(torch.stack(losses), trainer.on.worker, trainer.on.workers), torch.stack(counts)
            )
            yield Pause(state.step)
            started += time.perf_counter() - paused
    state.begun = None
    train_loss = trainer.mean_loss(torch.stack(losses), torch.stack(counts), state.step)
    trained_s = time.perf_counter() - started
    model.eval()
    val_loss, metrics = validate()
    plain_loss, train_metrics = excerpt()
    epoch = Epoch(
        epoch=state.step // plan.epoch_steps,
        phase=span.place,
        depth=span.depth,
        step=state.step,
        train_loss=train_loss,
        val_loss=val_loss,
        metrics=metrics,
        first_loss=trainer.mean_loss(torch.stack(losses[:1]), torch.stack(counts[:1]), stop - plan.epoch_steps + 1),
        plain_loss=plain_loss,
        train_metrics=train_metrics,
        score=early_stopping.score(trainer.tasks, trainer.options.early_stopping, val_loss, metrics),
        seconds=time.perf_counter() - started,
        images_per_s=images / trained_s,
        waiting=sum(waits) / trained_s,
        waiting_first=waits[0] / trained_s,
    )
    state.history.append(epoch)
    yield Progress(epoch, torch.stack(losses).cpu())


def _steps_done(state: State, on: Device) -> tuple[list[Tensor], list[Tensor]]:
    """Return this worker's losses and all counts of the steps done of the epoch; none where it only begins."""
    if state.begun is None:
        return [], []
    return list(state.begun.losses[on.worker].to(on.device)), list(state.begun.counts.to(on.device))


@torch.inference_mode()
def evaluate(
    model: FinetuneModel,
    tasks: Mapping[str, Task],
    batches: Iterable[Batch],
    on: Device,
    meters: Mapping[str, Meter] | None = None,
) -> Measured:
    """Return mean losses and metrics by task over batches, joined over all workers.

    Args:
        meters: empty ones that the caller wants to read more of; left out, fresh ones are used.
    """
    meters = meters or {name: task.meter() for name, task in tasks.items()}
    sums = torch.zeros(len(tasks), device=on.device)
    counts = torch.zeros(len(tasks), device=on.device, dtype=torch.int64)
    for batch in batches:
        outputs = forward(model, batch, on)
        placements = [Placement.unchanged(_side(batch, model))] * images_in(batch)
        for place, (name, task) in enumerate(tasks.items()):
            targets = target(batch, name, on)
            total, count = task.loss(outputs[name], targets)
            sums[place] += total
            counts[place] += count
            truths = task.labels.annotations(np.asarray(batch[TARGET + name]))
            meters[name].update(task.decode(outputs[name], placements), truths)
    sums, counts = over_workers(sums), over_workers(counts)
    mean = {name: float(sums[place] / counts[place]) for place, name in enumerate(tasks) if counts[place]}
    return mean, {name: meter.compute() for name, meter in meters.items()}


def _side(batch: Batch, model: FinetuneModel) -> int:
    """Return the side of a batch's square images, in pixels."""
    return int(batch["pixels"].shape[-1]) if "pixels" in batch or model.halves is None else model.halves.size
