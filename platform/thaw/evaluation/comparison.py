"""Comparison: two models on the same images, image by image.

The difference of two figures has an interval of its own, far narrower than theirs, because both models see the same
easy and hard images. Whether one model is better is read off that, never off two intervals that overlap.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.errors import DataError
from thaw.evaluation import bootstrap
from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.figures import Labelled
from thaw.metrics.weighted.contract import Values

_OF_RIGHT = frozenset({"accuracy", "exact_match"})
"""Metrics that are the share of right answers."""
_OF_DECISIONS = _OF_RIGHT | {"precision_macro", "recall_macro", "f1_macro"}
"""Metrics in which scores play no part."""
_FEWEST = 6
"""Changed answers with which McNemar's test can come below 5 %."""
_CHANGED = 0.2
"""Least change of how good an answer is, from which it counts as fixed or broken."""


class Change(BaseModel):
    """One image whose answer became better or worse."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    before: float
    """How good the first model's answer is, from 0 to 1."""
    after: float


class Difference(BaseModel):
    """One figure of both models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: float
    after: float
    difference: Interval
    """After minus before."""


class TaskComparison(BaseModel):
    """What the second model changes, for one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    metrics: dict[str, Difference]
    mcnemar: float | None
    """Probability of counts of fixed and broken answers so uneven, or more so, were both models equally good; where an
    answer is either right or wrong."""
    fixed: tuple[Change, ...]
    """Images that the second model answers better, most improved first."""
    broken: tuple[Change, ...]

    def beyond_chance(self, metric: str) -> bool:
        """Return whether a figure differs by more than chance explains: whether its interval has no 0 in it.

        Draws of a few changed decisions say too much: of shares of right answers McNemar's exact test must agree, and
        averages of such shares over classes must come from as many changes as that test asks for at least.
        """
        told = self.metrics[metric].difference
        if told.low <= 0 <= told.high:
            return False
        if self.mcnemar is None or metric not in _OF_DECISIONS:
            return True
        if metric in _OF_RIGHT:
            return self.mcnemar < 1 - bootstrap.LEVEL
        return len(self.fixed) + len(self.broken) >= _FEWEST


class Comparison(BaseModel):
    """What a model changes against another one, on one split of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: str
    """``name/version``."""
    after: str
    dataset: str
    split: str
    tasks: dict[str, TaskComparison]


def compare(before: Mapping[str, Labelled], after: Mapping[str, Labelled], seed: int) -> dict[str, TaskComparison]:
    """Compare two models task by task, over the tasks that both have.

    Raises:
        DataError: they have no task in common, or were not measured on the same images.
    """
    shared = [task for task in before if task in after]
    if not shared:
        raise DataError(
            f"the models answer nothing in common: {', '.join(before) or 'none'} and {', '.join(after) or 'none'}; "
            "compare models with a task of the same name"
        )
    return {task: _compared(task, before[task], after[task], seed) for task in shared}


def _compared(task: str, before: Labelled, after: Labelled, seed: int) -> TaskComparison:
    if before.ids != after.ids:
        raise DataError(f"task {task}: the models were measured on different images; evaluate both on the same dataset")
    ones, weights = bootstrap.once(len(before.ids)), bootstrap.draws(len(before.ids), seed)
    first, second = before.sample.metrics(ones), after.sample.metrics(ones)
    intervals = bootstrap.told(
        _less(second, first),
        _less(*(one.sample.metrics(bootstrap.leaving_out(len(before.ids))) for one in (after, before))),
        _less(after.sample.metrics(weights), before.sample.metrics(weights)),
    )
    good = before.sample.goodness(), after.sample.goodness()
    binary = all(np.isin(one, (0, 1)).all() for one in good)
    return TaskComparison(
        images=len(before.ids),
        metrics={
            name: Difference(before=float(first[name][0]), after=float(second[name][0]), difference=interval)
            for name, interval in intervals.items()
        },
        mcnemar=mcnemar(int((good[1] > good[0]).sum()), int((good[1] < good[0]).sum())) if binary else None,
        fixed=_changes(before.ids, *good, +1),
        broken=_changes(before.ids, *good, -1),
    )


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided exact probability of counts at least so uneven, if either change were equally likely.

    Source: McNemar 1947, doi:10.1007/BF02295996, by the binomial distribution instead of the limit.
    """
    changed = fixed + broken
    ways = sum(math.comb(changed, count) for count in range(min(fixed, broken) + 1))
    return min(1.0, 2 * ways / (1 << changed))


def _less(one: Mapping[str, Values], other: Mapping[str, Values]) -> dict[str, Values]:
    return {name: one[name] - other[name] for name in one if name in other}


def _changes(
    ids: tuple[str, ...], before: NDArray[np.float64], after: NDArray[np.float64], sign: int
) -> tuple[Change, ...]:
    change = sign * (after - before)
    order = np.argsort(-change, kind="stable")
    kept = [at for at in order if change[at] >= _CHANGED]
    return tuple(Change(id=ids[at], before=float(before[at]), after=float(after[at])) for at in kept)


def lines(found: Mapping[str, TaskComparison]) -> list[str]:
    """Return what the second model changes, for a person."""
    told = []
    for task, one in found.items():
        told.append(f"  {task}: {one.images} images; {len(one.fixed)} fixed, {len(one.broken)} broken{_chance(one)}")
        for name, figure in one.metrics.items():
            low, high = figure.difference.low, figure.difference.high
            sure = "  *" if one.beyond_chance(name) else ""
            change = f"{figure.difference.value:+.3f}  {low:+.3f} to {high:+.3f}{sure}"
            told.append(f"    {name:<24} {figure.before:.3f} -> {figure.after:.3f}  {change}")
    return told


def _chance(one: TaskComparison) -> str:
    return "" if one.mcnemar is None else f" (McNemar p = {one.mcnemar:.3g})"
