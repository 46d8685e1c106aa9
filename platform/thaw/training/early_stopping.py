"""Early stopping: whether a phase has stopped getting better, read off the history alone."""

from collections.abc import Sequence
from typing import Protocol

from thaw.config.experiment import EarlyStopping


class Scored(Protocol):
    """An epoch, as far as stopping is concerned."""

    @property
    def phase(self) -> int:
        """The place of its phase."""

    @property
    def score(self) -> float:
        """How good it was on the validation images; higher is better."""


def is_due(history: Sequence[Scored], options: EarlyStopping) -> bool:
    """Return whether the last epoch's phase has gone ``patience`` epochs without a better score."""
    if options.patience is None or not history:
        return False
    scores = [epoch.score for epoch in history if epoch.phase == history[-1].phase]
    best, since = float("-inf"), 0
    for score in scores:
        if score > best + options.min_delta:
            best, since = score, 0
        else:
            since += 1
    return since >= options.patience
