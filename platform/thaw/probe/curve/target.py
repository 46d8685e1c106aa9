"""Target: what a value of a task's metric takes, in images of the task and of each class."""

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.probe.curve import bootstrap
from thaw.probe.curve.answers import Ground
from thaw.probe.curve.law import Laws
from thaw.probe.curve.reach import Reach

LEAST_VAL = 30
"""Validation images that a curve needs, of a task or of a class: fewer do not show a difference of a tenth."""


class ClassReach(BaseModel):
    """What a target takes of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    have: int
    """Training images of it."""
    val: int
    """Validation images of it."""
    share: int | None
    """Images of it among those that the task takes, while classes keep their shares; None where that cannot be told."""
    recall: float | None = None
    """Share of its validation images that are answered rightly after learning from all training images; only of a task
    of one class an image, where there are `LEAST_VAL` of them."""
    reach: Reach | None = None
    """What a recall as high as the target takes, in images of it; where there is a recall."""


class Target(BaseModel):
    """What a value of a task's metric takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    reach: Reach
    classes: dict[str, ClassReach]

    @classmethod
    def of(cls, ground: Ground, answers: NDArray[np.int64], laws: Laws, seed: int, value: float) -> Self:
        """Return what a value takes.

        Args:
            answers: (S, R, N) or (S, R, N, C), as `answers.drawn` gives them for R draws.
            laws: of the task, one a resample.
        """
        images = len(ground.targets)
        reach = Reach.of(laws, 1 - value, images)
        classes = {
            name: _of_class(ground, answers, seed, value, place, reach.images)
            for place, name in enumerate(ground.task.labels.names)
        }
        return cls(value=value, reach=reach, classes=classes)


def _of_class(
    ground: Ground, answers: NDArray[np.int64], seed: int, value: float, place: int, needed: int | None
) -> ClassReach:
    have, val = _count(ground.targets, place), _count(ground.truth, place)
    share = None if needed is None else math.ceil(needed * have / len(ground.targets))
    told = ClassReach(have=have, val=val, share=share)
    if ground.truth.ndim > 1 or val < LEAST_VAL or not have:
        return told
    members = ground.truth == place
    own, truth = answers[:, :, members], ground.truth[members]
    laws = Laws.fit(ground.shares * have, bootstrap.errors(own, truth, ground.shares, seed))
    recall = float(bootstrap.values(own, truth)[-1].mean())
    return told.model_copy(update={"recall": recall, "reach": Reach.of(laws, 1 - value, have)})


def _count(targets: NDArray[np.int64], place: int) -> int:
    return int((targets == place).sum() if targets.ndim == 1 else targets[:, place].sum())
