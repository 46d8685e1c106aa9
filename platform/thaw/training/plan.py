"""FinetunePlan: when layer groups open and at what rate they learn, as pure functions of the step.

No state: whoever knows the step knows everything, so nothing of it needs saving and a restart cannot differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from thaw.catalog import did_you_mean
from thaw.config.experiment import Experiment, Phase
from thaw.errors import ConfigError
from thaw.model import HEADS

_ONE_CYCLE_BEGINS = 1 / 25
"""Share of the peak rate at which one_cycle begins its rise."""


@dataclass(frozen=True)
class Span:
    """Steps of a phase with the same layer groups open: all of it, or a part where groups open one after another.

    Attributes:
        phase, place: the phase, and its place among the phases.
        start, stop: first step, and the one after the last.
        depth: how many layer groups learn.
        aim: how many are to be open when the phase ends.
        begun, over: first step of the whole phase, and the one after its last; where the phase is to stop before that,
            no span covers what is left of it.
    """

    phase: Phase
    place: int
    start: int
    stop: int
    depth: int
    aim: int
    begun: int
    over: int


@dataclass(frozen=True)
class FinetunePlan:
    """Phases over the layer groups of one backbone.

    Attributes:
        spans: in order, without overlap; one or more a phase, and a gap only where one stops before its last epoch.
        groups: layer group names, input side first.
        epoch_steps: steps in an epoch.
    """

    spans: tuple[Span, ...]
    groups: tuple[str, ...]
    epoch_steps: int

    @classmethod
    def of(cls, experiment: Experiment, groups: Sequence[str], epoch_steps: int) -> Self:
        """Return the plan of an experiment for a backbone with these layer groups.

        Raises:
            ConfigError: a phase opens more groups than there are, or names one that there is not.
        """
        return cls.over(experiment.finetune.phases, experiment.model.backbone, groups, epoch_steps)

    @classmethod
    def over(cls, phases: Sequence[Phase], backbone: str, groups: Sequence[str], epoch_steps: int) -> Self:
        """Return the plan of these phases; ``backbone`` is the name by which errors call what has the groups.

        Raises:
            ConfigError: as for `of`.
        """
        spans: list[Span] = []
        begun, opened = 0, 0
        for place, phase in enumerate(phases):
            over, start = begun + phase.epochs * epoch_steps, begun
            aim = _aim(phase, place, backbone, groups)
            depths = _depths(phase, place, opened, aim)
            for depth, epochs in groupby(depths[: phase.lasts]):
                stop = start + len(list(epochs)) * epoch_steps
                spans.append(Span(phase, place, start, stop, depth, aim, begun, over))
                start = stop
            begun, opened = over, depths[-1]
        return cls(tuple(spans), tuple(groups), epoch_steps)

    @property
    def steps(self) -> int:
        """The step after the last one."""
        return self.spans[-1].stop

    def span_at(self, step: int) -> Span:
        """Return the span that ``step`` belongs to, or the next one."""
        return next(span for span in self.spans if step < span.stop)

    def phase_at(self, step: int) -> int:
        """Return the place of the phase that ``step`` belongs to."""
        return self.span_at(step).place

    def depth_at(self, step: int) -> int:
        """Return how many layer groups, counted from the head, learn at ``step``."""
        return self.span_at(step).depth

    def rates_at(self, step: int) -> dict[str, float]:
        """Return the learning rate of each group that learns at ``step``, by name."""
        span = self.span_at(step)
        share = _share_of_peak(span, step, self.epoch_steps)
        return {name: peak * share for name, peak in self.peaks(span).items()}

    def peaks(self, span: Span) -> dict[str, float]:
        """Return the peak rate, in the span's phase, of each group that learns in the span: heads first, downwards."""
        rates = span.phase.rates
        opened = reversed(self.groups[len(self.groups) - span.depth :])
        by_decay = {name: rates.backbone * rates.decay**below for below, name in enumerate(opened)}
        return {HEADS: rates.head, **{name: rates.groups.get(name, rate) for name, rate in by_decay.items()}}

    def shortfalls(self) -> list[str]:
        """Return a line about every phase that ends before it has opened all the groups that it is to open."""
        ends = {span.place: span for span in self.spans}
        return [
            f"finetune.phases[{place}]: opens {last.depth} of {last.aim} groups, one every {last.phase.open_every} "
            f"epoch(s), in its {last.phase.lasts} epochs; the others stay frozen"
            for place, last in ends.items()
            if last.depth < last.aim
        ]


def _aim(phase: Phase, place: int, backbone: str, groups: Sequence[str]) -> int:
    """Return how many groups a phase is to open, once all that it names is known to be there."""
    where, listed = f"finetune.phases[{place}]", f"(run `thaw models {backbone}`)"
    for name in phase.rates.groups:
        if name not in groups:
            raise ConfigError(f"{where}.rates.groups: {_unknown(name, backbone, groups)} {listed}")
    if isinstance(phase.depth, str):
        if phase.depth != "all" and phase.depth not in groups:
            raise ConfigError(f"{where}.depth: {_unknown(phase.depth, backbone, groups)} {listed}")
        return len(groups) - (0 if phase.depth == "all" else groups.index(phase.depth))
    if phase.depth > len(groups):
        raise ConfigError(
            f"{where}.depth: {phase.depth} groups cannot be opened; {backbone} has {len(groups)} {listed}"
        )
    return phase.depth


def _depths(phase: Phase, place: int, opened: int, aim: int) -> list[int]:
    """Return how many groups learn in each epoch of a phase that comes after one with ``opened`` of them open."""
    if phase.open_every is None:
        return [aim] * phase.epochs
    if aim <= opened:
        raise ConfigError(
            f"finetune.phases[{place}].open_every: nothing is left to open one by one: before this phase {opened} "
            f"groups are open, and its depth is {aim}; leave open_every out, or raise depth"
        )
    return [min(aim, opened + 1 + epoch // phase.open_every) for epoch in range(phase.epochs)]


def _unknown(name: str, backbone: str, groups: Sequence[str]) -> str:
    known = ", ".join(groups)
    return f"{name!r} is not a layer group of {backbone}, which has {known}{did_you_mean(name, groups)}"


def _share_of_peak(span: Span, step: int, epoch_steps: int) -> float:
    """Return the share of the peak rate that is due: a rise, then what the schedule says.

    Source of one_cycle: Smith & Topin 2018, arXiv:1708.07120; both of its halves are half-cosines here, and momentum
    stays as it is.
    """
    phase, done, total = span.phase, step - span.begun, span.over - span.begun
    rise = round(phase.rise * total)
    if done < rise:
        risen = (done + 1) / rise
        return _along_cosine(_ONE_CYCLE_BEGINS, 1.0, risen) if phase.schedule == "one_cycle" else risen
    fallen = (done - rise) / max(1, total - rise)
    match phase.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - fallen
        case "step":
            return phase.drop_to ** (done // (phase.drop_every * epoch_steps))
        case "cosine" | "one_cycle":
            return 0.5 * (1 + math.cos(math.pi * fallen))


def _along_cosine(first: float, last: float, share: float) -> float:
    """Return where half a cosine from one value to another stands after a share of its length."""
    return first + (last - first) * 0.5 * (1 - math.cos(math.pi * share))
