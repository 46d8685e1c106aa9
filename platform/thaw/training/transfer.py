"""Transfer: whether each task gains or loses by sharing its backbone with the others.

Each task is trained again alone, with the same plan on the same images, and compared on validation. One run each is
one draw: a difference of a few points on a small set may be chance.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from thaw.config.experiment import Experiment
from thaw.data.dataset import Dataset
from thaw.errors import ConfigError

LOSS = 0.01
"""By how much its metric must be lower in company for a task to count as one that loses."""


class Transfer(BaseModel):
    """One task's best validation metric together with the others and alone, each in its own best epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    metric: str
    together: float
    alone: float
    seconds_alone: float

    @property
    def loses(self) -> bool:
        """Whether the task is worse off in company."""
        return self.together < self.alone - LOSS


def check(experiment: Experiment) -> None:
    """Refuse an experiment whose tasks cannot be compared together and alone.

    Raises:
        ConfigError: it has one task, or no validation images to compare on.
    """
    if len(experiment.tasks) < 2:
        raise ConfigError("--compare-single needs an experiment of two tasks or more")
    if not experiment.train.validates:
        raise ConfigError(
            "--compare-single compares on validation images, which train.learn_from takes: set it to train"
        )


def alone(experiment: Experiment, prepared: Dataset, task: str) -> tuple[Experiment, Dataset]:
    """Return the same experiment and dataset with one task, registered under a name of its own.

    Images that were drawn by class are drawn by the task's own classes, or once an epoch where it has no such.
    """
    impossible = experiment.train.sampling == "classes" and experiment.tasks[task].annotation != "class"
    values: dict[str, Any] = {
        "name": f"{experiment.name[:40]}-only-{task}"[:63],
        "tasks": {task: experiment.tasks[task]},
        "data": experiment.data.model_copy(
            update={"split": experiment.data.split.model_copy(update={"stratify": None})}
        ),
        "train": experiment.train.model_copy(update={"sampling": "uniform"} if impossible else {}),
    }
    stopping = experiment.finetune.early_stopping
    if stopping.monitor and stopping.monitor.partition(".")[0] != task:
        freely = stopping.model_copy(update={"monitor": None})
        values["finetune"] = experiment.finetune.model_copy(update={"early_stopping": freely})
    return experiment.model_copy(update=values), prepared.only(task)


def lines(found: Sequence[Transfer], seconds_together: float) -> list[str]:
    """Return a table for a person."""
    rows = [f"  {'task':<16}{'metric':<14}{'together':>10}{'alone':>10}{'change':>10}"]
    for one in found:
        verdict = "  loses by sharing" if one.loses else ""
        change = one.together - one.alone
        rows.append(f"  {one.task:<16}{one.metric:<14}{one.together:>10.3f}{one.alone:>10.3f}{change:>+10.3f}{verdict}")
    seconds = sum(one.seconds_alone for one in found)
    return [*rows, f"  together {seconds_together:.0f} s, one after another {seconds:.0f} s"]
