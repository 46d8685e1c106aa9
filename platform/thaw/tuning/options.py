"""Options of a sweep beside what is searched: which trials go on, and what all of them may take."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from thaw.config.parts import Section


class Scheduler(Section):
    """Which trials go on after an epoch. The experiment as it was written is never stopped, so that the best trial is
    compared with all that it can do."""

    by: Literal["asha", "hyperband", "median", "none"] = "asha"
    """asha: at each rung, once that many images are seen, the best of those that came so far go on. hyperband: asha
    with three brackets, whose first rungs lie apart. median: those stop that are below the median of the others'
    means so far. none: all go on to the end."""
    grace_epochs: PositiveInt = 1
    """No trial is stopped before it has seen as many images as so many epochs have."""
    reduction: Annotated[float, Field(gt=1, le=16)] = 3.0
    """One in so many goes on at each rung, and the next rung lies that many times further."""


class Budget(Section):
    """What a sweep may take."""

    concurrent: PositiveInt | None = None
    """Trials at the same time; left out: as many as the cluster has room for."""
    hours: PositiveFloat | None = None
    """After so many hours, over all attempts, no trial begins and those that run end with their epoch."""
    gpus_per_trial: Annotated[float, Field(gt=0, le=1)] = 1.0
    """GPUs of a trial of one worker, if the experiment trains on GPUs; 0.5 lets two trials share one."""
    max_failures: Annotated[int, Field(ge=0)] = 1
    """Crashes after which a trial goes on from its last checkpoint; one more, and it is recorded as failed."""
