"""Finding: the rates that a range test suggests, from two sweeps: the heads alone, then the opened groups.

The second begins with heads that have learnt for a while, because behind fresh ones the backbone would see gradients
that say nothing; and it holds the heads at their suggested rate, as training will: only what is asked for rises.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict

from thaw.errors import ConfigError
from thaw.model import HEADS
from thaw.training.loop import Batch, Batches
from thaw.training.lr_find.curve import Curve
from thaw.training.lr_find.sweep import Learner, Step, Swept, restored, sweep, train
from thaw.training.plan import FinetunePlan

LEAST_STEPS, MOST_STEPS = 30, 1000
HIGHEST = 10.0
"""The highest rate that an experiment may ask for."""

_LEAST_SPAN = 100.0
_LEAST_FALL = 0.01
"""Share by which the loss must fall for its lowest point to mean something."""


@dataclass(frozen=True)
class Range:
    """The rates that a sweep goes through."""

    low: float
    high: float
    steps: int

    @classmethod
    def checked(cls, low: float, high: float, steps: int) -> Self:
        """Return the range.

        Raises:
            ConfigError: it says too little, or more steps than tell more.
        """
        if not 0 < low < high <= HIGHEST:
            raise ConfigError(f"--from {low:g} --to {high:g}: needs 0 < from < to <= {HIGHEST:g}, such as 1e-6 and 1")
        if high < _LEAST_SPAN * low * (1 - 1e-9):
            raise ConfigError(
                f"--from {low:g} --to {high:g}: needs a range of {_LEAST_SPAN:g} times or more, such as 1e-6 and 1; a "
                "rate is suggested a tenth below the one where the loss is lowest"
            )
        if not LEAST_STEPS <= steps <= MOST_STEPS:
            raise ConfigError(
                f"--steps {steps}: needs {LEAST_STEPS} to {MOST_STEPS}; fewer cannot be told from noise, and more make "
                "the rate rise so slowly that the model has long learnt when it comes to the rates in question"
            )
        return cls(low, high, steps)

    def rates(self) -> list[float]:
        """Return the rates, rising by the same factor from step to step."""
        return [self.low * (self.high / self.low) ** (step / (self.steps - 1)) for step in range(self.steps)]


class Finding(BaseModel):
    """What a range test came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: Curve
    """The heads' rate rises, everything else is frozen."""
    backbone: Curve | None
    """The rate of the group next to the heads rises; None where the plan opens no group."""
    depth: int
    """Groups open in the second sweep: the most that the plan opens."""
    head_rate: float
    backbone_rate: float | None

    @property
    def curves(self) -> dict[str, tuple[Curve, float]]:
        """What was swept -> its curve and the rate suggested."""
        found = {"heads": (self.head, self.head_rate)}
        if self.backbone is not None and self.backbone_rate is not None:
            found["backbone"] = (self.backbone, self.backbone_rate)
        return found

    def overrides(self, depths: Sequence[int]) -> list[str]:
        """Return the suggestion as overrides of an experiment whose phases open so many groups."""
        found = []
        for place, depth in enumerate(depths):
            found.append(f"finetune.phases[{place}].rates.head={_written(self.head_rate)}")
            if depth and self.backbone_rate is not None:
                found.append(f"finetune.phases[{place}].rates.backbone={_written(self.backbone_rate)}")
        return found

    def warnings(self) -> list[str]:
        """Return what speaks against trusting the suggestion."""
        return [f"{name}: {reason}" for name, (curve, _) in self.curves.items() for reason in _doubts(curve)]

    def lines(self) -> list[str]:
        """Return what a person reads: the rates, and what they were read off."""
        lines = [
            f"{name:<9} {_written(rate)}   loss {curve.level:.3f} without, lowest {min(curve.smoothed()):.3f} at "
            f"{_written(curve.rates[curve.lowest_at])}"
            for name, (curve, rate) in self.curves.items()
        ]
        return [*lines, *(f"warning: {one}" for one in self.warnings())]


def find(learner: Learner, plan: FinetunePlan, chosen: Range, batches: Batches) -> Generator[Step, None, Finding]:
    """Sweep the heads' rate, then that of the groups that the plan opens, telling of every step.

    The model is afterwards what it was before: see `sweep.restored`.
    """
    rates, steps = chosen.rates(), chosen.steps
    head = yield from sweep(learner, Swept(0, {HEADS: 1.0}), rates, batches, "heads")
    held = {HEADS: head.suggestion}
    opened = max(plan.spans, key=lambda span: span.depth)
    if not opened.depth:
        return Finding(head=head, backbone=None, depth=0, head_rate=head.suggestion, backbone_rate=None)
    swept = Swept(opened.depth, shares(plan, opened.start), held)
    with restored(learner.model, learner.on.device):
        yield from train(learner, 0, [held] * steps, _from(batches, steps), "heads, at the rate found")
        backbone = yield from sweep(learner, swept, rates, _from(batches, 2 * steps), "backbone")
    return Finding(
        head=head,
        backbone=backbone,
        depth=opened.depth,
        head_rate=head.suggestion,
        backbone_rate=backbone.suggestion,
    )


def shares(plan: FinetunePlan, step: int) -> dict[str, float]:
    """Return each open group's rate as a share of that of the group next to the heads."""
    rates = {name: rate for name, rate in plan.rates_at(step).items() if name != HEADS}
    top = next(rates[name] for name in reversed(plan.groups) if name in rates)
    return {name: rate / top for name, rate in rates.items()}


def _from(batches: Batches, first: int) -> Batches:
    """Return the batches that come after the first ones."""

    def later(start: int, stop: int) -> Generator[Batch]:
        return batches(first + start, first + stop)

    return later


def _doubts(curve: Curve) -> list[str]:
    doubts, lowest = [], min(curve.smoothed())
    if lowest > (1 - _LEAST_FALL) * curve.level:
        doubts.append(
            f"the loss hardly fell, from {curve.level:.3f} to {lowest:.3f}: at no rate was there much to learn in so "
            "many steps, so the suggestion means little; take more --steps"
        )
    if curve.lowest_at == len(curve.resting) - 1:
        doubts.append("the loss was still falling at the highest rate; raise --to")
    if curve.suggestion < curve.rates[0]:
        doubts.append("the suggestion lies below the lowest rate; lower --from")
    return doubts


def _written(rate: float) -> str:
    """Return a rate as YAML reads it for a number, which it does not do with 1e-3."""
    return f"{rate:.1e}"
