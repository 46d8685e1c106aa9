"""FinetunePlan: when layer groups open and at what rate they learn, as pure functions of the step.

No state: whoever knows the step knows everything, so nothing of it needs saving and a restart cannot differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from thaw.config.experiment import Experiment, Phase
from thaw.errors import ConfigError
from thaw.model import HEADS


@dataclass(frozen=True)
class Span:
    """A phase in steps.

    Attributes:
        start, stop: first step, and the one after the last.
        depth: how many layer groups learn.
    """

    phase: Phase
    start: int
    stop: int
    depth: int


@dataclass(frozen=True)
class FinetunePlan:
    """Phases over the layer groups of one backbone.

    Attributes:
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
            ConfigError: a phase opens more groups than there are.
        """
        spans, start = [], 0
        for place, phase in enumerate(experiment.finetune.phases):
            depth = len(groups) if phase.depth == "all" else phase.depth
            if depth > len(groups):
                name = experiment.model.backbone
                raise ConfigError(
                    f"finetune.phases[{place}].depth: {depth} groups cannot be opened; {name} has {len(groups)} "
                    f"(run `thaw models {name}`)"
                )
            stop = start + phase.epochs * epoch_steps
            spans.append(Span(phase, start, stop, depth))
            start = stop
        return cls(tuple(spans), tuple(groups), epoch_steps)

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return self.spans[-1].stop

    def phase_at(self, step: int) -> int:
        """Return the place of the phase that ``step`` belongs to."""
        return next(place for place, span in enumerate(self.spans) if step < span.stop)

    def depth_at(self, step: int) -> int:
        """Return how many layer groups, counted from the head, learn at ``step``."""
        return self.spans[self.phase_at(step)].depth

    def rates_at(self, step: int) -> dict[str, float]:
        """Return the learning rate of each group that learns at ``step``, by name."""
        span = self.spans[self.phase_at(step)]
        rates, share = span.phase.rates, _share_of_peak(span, step)
        opened = reversed(self.groups[len(self.groups) - span.depth :])
        peaks = {name: rates.backbone * rates.decay**below for below, name in enumerate(opened)}
        return {name: peak * share for name, peak in {HEADS: rates.head, **peaks}.items()}


def _share_of_peak(span: Span, step: int) -> float:
    """Return the share of the peak rate that is due: a linear rise, then what the schedule says."""
    done, total = step - span.start, span.stop - span.start
    rise = round(span.phase.warmup * total)
    if done < rise:
        return (done + 1) / rise
    if span.phase.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / max(1, total - rise)))
