"""Curve: how good linear heads on frozen features get with more training images, and what a target takes.

A finetuned model learns features too. For it the curve is a proxy: what heads reach, it nearly always reaches with
fewer images.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.probe.curve import bootstrap, subsets
from thaw.probe.curve.answers import Ground
from thaw.probe.curve.law import Laws
from thaw.probe.curve.reach import BAND, FURTHEST
from thaw.probe.curve.target import LEAST_VAL, Target
from thaw.tasks.contract import Task

LEAST_GROWTH = 4
"""Times the smallest subset that all images must be: two doublings are the least from which a third can be told."""

_AHEAD = 25
"""Points of the law that are kept to be drawn."""
_TOLD = (1.0, 2.0, FURTHEST)
"""Times the images there are, for which there is a point beside these."""


class Point(BaseModel):
    """What the law expects at a number of images, and between which figures it lies, `BAND` of the resamples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    value: float
    low: float
    high: float


class Curve(BaseModel):
    """The learning curve of one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    metric: str
    images: int
    """Training images with a label."""
    val: int
    """Validation images with a label; figures are on them."""
    sizes: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    """By size, of every draw."""
    floor: float
    """Of the law, error = floor + height (n / images)^-exponent: what more images do not mend."""
    height: float
    exponent: float
    ahead: tuple[Point, ...]
    """From the smallest size to `FURTHEST` times the images, those there are and twice as many among them."""
    target: Target | None

    @classmethod
    def of(cls, ground: Ground, answers: NDArray[np.int64], seed: int, target: float | None) -> Self:
        """Return the curve of what heads answered.

        Args:
            answers: (S, R, N) or (S, R, N, C), as `answers.drawn` gives them for R draws.
            target: value of the task's best metric.
        """
        sizes, images = ground.sizes.astype(np.float64), len(ground.targets)
        values = bootstrap.values(answers, ground.truth)
        law = Laws.fit(sizes, 1 - values.mean(axis=1)[None])
        laws = Laws.fit(sizes, bootstrap.errors(answers, ground.truth, ground.shares, seed))
        return cls(
            task=ground.task.name,
            metric=ground.task.best_metric,
            images=images,
            val=len(ground.truth),
            sizes=tuple(ground.sizes.tolist()),
            values=tuple(tuple(of_size) for of_size in values.tolist()),
            floor=float(law.floor[0]),
            height=float(law.height[0]),
            exponent=float(law.exponent[0]),
            ahead=tuple(_point(law, laws, at) for at in _drawn_at(sizes[0], images)),
            target=None if target is None else Target.of(ground, answers, laws, seed, target),
        )

    @property
    def now(self) -> float:
        """The metric after learning from all training images."""
        return self.values[-1][0]

    def at(self, times: float) -> Point:
        """Return the point at 1, 2 or `FURTHEST` times the images there are."""
        return next(one for one in self.ahead if one.images == round(times * self.images))


def doubt(task: Task, train: int, val: int) -> str | None:
    """Return why a task can have no curve, and what it takes; None where it can.

    Args:
        train: training images with a label.
        val: validation images with a label.
    """
    if val < LEAST_VAL:
        return f"{val} validation images with a label show too little; label {LEAST_VAL} or more"
    classes = len(task.labels.names)
    least = LEAST_GROWTH * subsets.fewest(classes)
    if train < least:
        return (
            f"{train} training images with a label are too few to learn {classes:,} classes from parts of them; label "
            f"{least:,} or more, about {-(-least // classes):,} of each class"
        )
    return None


def _drawn_at(smallest: float, images: int) -> NDArray[np.float64]:
    steps = np.geomspace(smallest, FURTHEST * images, _AHEAD)
    return np.unique(np.concatenate([steps, [times * images for times in _TOLD]]).round())


def _point(law: Laws, laws: Laws, images: float) -> Point:
    low, high = np.quantile(1 - laws.at(images), BAND)
    return Point(images=int(images), value=float(1 - law.at(images)[0]), low=float(low), high=float(high))
