"""Sweep: train while a rate rises from step to step, note the loss, and leave the model as it was found.

The steps are those of `loop.fit`, so optimizer, precision, clipping and the weighting of tasks are training's own.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from thaw.config.experiment import EarlyStopping, Finetune, Phase
from thaw.errors import ConfigError
from thaw.model import HEADS, FinetuneModel
from thaw.tasks.contract import Task
from thaw.training import loop, optimizer
from thaw.training.loop import Batches, Device, Progress, State
from thaw.training.lr_find.curve import Curve, Losses, levels, smoothed
from thaw.training.plan import FinetunePlan, Span
from thaw.training.weighting import Weighting

DIVERGED = 2.0
"""A sweep ends once the smoothed loss is this many times what it is without learning."""


@dataclass(frozen=True)
class Learner:
    """What trains: the model with all that decides on a step but the rates and the batch."""

    model: FinetuneModel
    tasks: Mapping[str, Task]
    options: Finetune
    on: Device
    seed: int

    @property
    def weights(self) -> dict[str, float]:
        """Task -> how much it counts."""
        return {name: float(task.options.weight) for name, task in self.tasks.items()}


@dataclass(frozen=True)
class Swept:
    """Which groups learn at the rising rate.

    Attributes:
        depth: layer groups open.
        shares: group name -> its share of the rising rate.
        held: group name -> the rate of those that learn all the while.
    """

    depth: int
    shares: Mapping[str, float]
    held: Mapping[str, float] = field(default_factory=dict)

    def at(self, rate: float) -> dict[str, float]:
        """Return the rate of every open group where the rising rate has come to ``rate``."""
        return {**self.held, **{name: rate * share for name, share in self.shares.items()}}

    @property
    def resting(self) -> dict[str, float]:
        """The heads' rate while nothing that is swept learns."""
        return {HEADS: self.held.get(HEADS, 0.0)}


@dataclass(frozen=True)
class Step:
    """Told after every step: what is under way, how many of its steps are done, and the loss, tasks weighted."""

    stage: str
    done: int
    of: int
    loss: float


def sweep(
    learner: Learner, swept: Swept, rates: Sequence[float], batches: Batches, stage: str
) -> Generator[Step, None, Curve]:
    """Train over the batches twice, first with what is swept at rest, then at rising rates, and return both losses.

    The second time ends early once the smoothed loss is `DIVERGED` times what it is without learning, or no number.
    However it ends, the model is afterwards what it was, and so are torch's random numbers: see `restored`.

    Args:
        rates: rising, one a step.
        stage: what to call this in what is told.
    """
    resting = yield from _losses(learner, 0, [swept.resting] * len(rates), batches, f"{stage}, at rest")
    level = _total(learner, levels(resting))

    def went_too_far(found: Sequence[Losses]) -> bool:
        *_, last = smoothed(found, resting)
        return _total(learner, last) > DIVERGED * level

    risen = [swept.at(rate) for rate in rates]
    losses = yield from _losses(learner, swept.depth, risen, batches, f"{stage}, rate rising", went_too_far)
    return Curve(
        rates=tuple(rates[: len(losses)]), losses=tuple(losses), resting=tuple(resting), weights=learner.weights
    )


def train(
    learner: Learner, depth: int, rates: Sequence[Mapping[str, float]], batches: Batches, stage: str
) -> Iterator[Step]:
    """Train with ``depth`` groups open, at each step with the rates by group that are given for it; tell of every step.

    The optimizer is a fresh one.
    """
    with closing(_steps(learner, depth, rates, batches)) as steps:
        for done, progress in enumerate(steps, start=1):
            yield Step(stage, done, len(rates), _total(learner, progress.epoch.train_loss))


@contextmanager
def restored(model: FinetuneModel, device: torch.device) -> Iterator[None]:
    """Leave a model afterwards as it is now, bit for bit: weights, buffers, gradients, what is open, modes.

    So with torch's random numbers, on the CPU and on ``device``.
    """
    depth = model.depth
    values = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    learning = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            _put_back(values, learning, modes)
            model.depth = depth


def _put_back(
    values: Sequence[tuple[torch.Tensor, torch.Tensor]],
    learning: Sequence[tuple[nn.Parameter, bool, torch.Tensor | None]],
    modes: Sequence[tuple[nn.Module, bool]],
) -> None:
    with torch.no_grad():
        for tensor, value in values:
            tensor.copy_(value)
    for weight, learns, gradient in learning:
        weight.requires_grad_(learns)
        weight.grad = gradient
    for module, mode in modes:
        module.training = mode


def _losses(
    learner: Learner,
    depth: int,
    rates: Sequence[Mapping[str, float]],
    batches: Batches,
    stage: str,
    is_over: Callable[[Sequence[Losses]], bool] = lambda _found: False,
) -> Generator[Step, None, list[Losses]]:
    """Train as `train` does until ``is_over`` or the loss is no number, and return the losses of the steps."""
    found: list[Losses] = []
    with restored(learner.model, learner.on.device), closing(_steps(learner, depth, rates, batches)) as steps:
        for progress in steps:
            found.append(progress.epoch.train_loss)
            yield Step(stage, len(found), len(rates), _total(learner, found[-1]))
            if is_over(found):
                break
    return found


def _steps(learner: Learner, depth: int, rates: Sequence[Mapping[str, float]], batches: Batches) -> Generator[Progress]:
    """Yield after every step, until the loss is no finite number, of which the loop tells by refusing to go on."""
    model, on = learner.model, learner.on
    model.open_groups(depth)
    state = State(
        optimizer.build(model, learner.options.optimizer),
        Weighting(learner.tasks, learner.options.weighting, on.device),
        scaler=torch.amp.GradScaler(on.device.type, enabled=on.autocast == torch.float16),
    )
    unstopped = learner.options.model_copy(update={"early_stopping": EarlyStopping(patience=None)})
    plan = _StepPlan.of_rates(model, depth, rates)
    steps = loop.fit(model, learner.tasks, plan, unstopped, state, batches, lambda: ({}, {}), on, learner.seed)
    try:
        for progress in steps:
            if isinstance(progress, Progress):
                yield progress
    except ConfigError:
        if not state.history:
            raise


@dataclass(frozen=True)
class _StepPlan(FinetunePlan):
    """A plan that states the rate of every group step by step, and calls every step an epoch."""

    rates: tuple[Mapping[str, float], ...]

    @classmethod
    def of_rates(cls, model: FinetuneModel, depth: int, rates: Sequence[Mapping[str, float]]) -> "_StepPlan":
        """Return one phase with ``depth`` groups open and these rates."""
        span = Span(Phase(epochs=1, depth=depth), 0, 0, len(rates), depth, depth, 0, len(rates))
        return cls((span,), tuple(group.name for group in model.groups), 1, tuple(rates))

    def rates_at(self, step: int) -> dict[str, float]:
        """Return the learning rate of each group that learns at ``step``, by name."""
        return dict(self.rates[step])


def _total(learner: Learner, losses: Losses) -> float:
    return sum(learner.weights[task] * value for task, value in losses.items())
