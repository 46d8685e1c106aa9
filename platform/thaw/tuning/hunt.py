"""Hunt: a sweep whose data, study and experiment are known to fit each other, and what follows from them."""

import functools
from dataclasses import dataclass
from typing import Any

from thaw.config.experiment import Experiment
from thaw.data.dataset import Dataset
from thaw.storage import Root
from thaw.training import run
from thaw.tuning.study import Study
from thaw.tuning.sweep import Sweep


@dataclass(frozen=True)
class Hunt:
    """A sweep whose data, space and experiment are known to fit each other.

    Attributes:
        study: with a number in place of every ``all``.
        groups: layer groups of the backbone of trial 0.
    """

    root: Root
    current: Sweep
    written: Experiment
    study: Study
    prepared: Dataset
    groups: int

    @functools.cached_property
    def base(self) -> Experiment:
        """The experiment of trial 0."""
        return self.of({})

    @functools.cached_property
    def epoch_images(self) -> int:
        """Training images that an epoch of trial 0 sees."""
        return run.feed_of(self.base, self.prepared, "train").epoch_steps * self.base.train.batch

    @property
    def all_images(self) -> int:
        """Training images that trial 0 sees."""
        return self.epoch_images * self.epochs({})

    def epochs(self, values: dict[str, Any]) -> int:
        """Return the number of the last epoch of a trial's plan."""
        *before, last = self.of(values).finetune.phases
        return sum(phase.epochs for phase in before) + last.lasts

    def of(self, values: dict[str, Any]) -> Experiment:
        """Return the experiment of a trial, which draws no pictures and keeps all that others can use.

        Whether keeping what frozen layers make of images pays is judged for one run; here many use it.
        """
        drawn = self.study.experiment(self.written, values)
        quiet = drawn.track.model_copy(update={"pictures": 0, "train_images": 0, "mlflow": None, "wandb": None})
        shares = drawn.train.workers == 1 and drawn.train.cache.use != "never"
        use = "always" if shares else drawn.train.cache.use
        kept = drawn.train.model_copy(update={"cache": drawn.train.cache.model_copy(update={"use": use})})
        return drawn.model_copy(update={"track": quiet, "train": kept})
