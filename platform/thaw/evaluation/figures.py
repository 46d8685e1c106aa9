"""Figures: what a model came to on one split, each with its interval; as a whole, by class, and by slice."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.data.labels import Annotation
from thaw.evaluation import bootstrap, calibration, operating_point
from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.operating_point import Kept
from thaw.metrics.weighted.contract import Sample, Values, Weights
from thaw.predictor import Answers
from thaw.tasks.contract import Task

_MOST_SLICES = 50
"""Values of a column that are told of, the most frequent first."""


class Slice(BaseModel):
    """The images that have one value in a column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    metrics: dict[str, Interval]


class Figures(BaseModel):
    """What one task came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    """Those with a label."""
    metrics: dict[str, Interval]
    classes: dict[str, dict[str, Interval]]
    """Class -> metric -> interval."""
    slices: dict[str, dict[str, Slice]] = {}
    """Column -> value -> the same metrics over the images that have it."""
    reliability: Reliability | None = None
    """How well scores are to be believed; None where answers have none."""
    kept: tuple[Kept, ...] = ()
    """How the aim of the operating point is kept."""


@dataclass(frozen=True)
class Labelled:
    """The images of a task that carry a label, in order.

    Attributes:
        ids: N of them.
        places: (N,) which of all images they are.
    """

    ids: tuple[str, ...]
    places: NDArray[np.int64]
    sample: Sample

    def strata(self) -> NDArray[np.int64]:
        """Return (N,) which images are alike; see `Sample.strata`."""
        return self.sample.strata()


def labelled(
    tasks: Mapping[str, Task],
    ids: Sequence[str],
    answers: Sequence[Answers],
    annotations: Sequence[Mapping[str, Annotation]],
) -> dict[str, Labelled]:
    """Return task -> its labelled images; a task without any is left out."""
    found = {}
    for name, task in tasks.items():
        places = [place for place, carried in enumerate(annotations) if carried[name] is not None]
        if places:
            sample = task.sample([answers[at][name] for at in places], [annotations[at][name] for at in places])
            found[name] = Labelled(tuple(ids[at] for at in places), np.array(places), sample)
    return found


def figures(
    tasks: Mapping[str, Task],
    seen: Mapping[str, Labelled],
    seed: int,
    columns: Mapping[str, Sequence[str | None]] | None = None,
) -> dict[str, Figures]:
    """Return task -> figures.

    Args:
        seen: what `labelled` returned.
        seed: of the draws.
        columns: column -> the value of every image, for slices.
    """
    found = {}
    for name, one in seen.items():
        weights = bootstrap.draws(one.strata(), seed)
        task, point = tasks[name], tasks[name].options.operating_point
        settled = point is not None and task.answering.thresholds
        found[name] = Figures(
            images=len(one.ids),
            metrics=bootstrap.intervals(one.sample.metrics, weights),
            classes=bootstrap.by_class(one.sample, weights),
            slices={
                column: dict(_slices(one, [values[at] for at in one.places], weights))
                for column, values in (columns or {}).items()
            },
            reliability=calibration.reliability(one.sample),
            kept=tuple(operating_point.kept(one.sample, point, task.answering, task.usual, weights)) if settled else (),
        )
    return found


def _slices(one: Labelled, values: Sequence[str | None], weights: Weights) -> Iterator[tuple[str, Slice]]:
    """Yield the value and the figures of each slice, the largest first: the same draws, seen through a part of them."""
    names, counts = np.unique([value for value in values if value is not None], return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:_MOST_SLICES]:
        has = np.array([value == names[place] for value in values], dtype=np.float64)
        metrics = bootstrap.intervals(functools.partial(_of_part, one.sample, has), weights)
        yield str(names[place]), Slice(images=int(counts[place]), metrics=metrics)


def _of_part(sample: Sample, counts: NDArray[np.float64], weights: Weights) -> dict[str, Values]:
    """Return the metrics of some of the images alone."""
    return sample.metrics(weights * counts)


def lines(found: Mapping[str, Figures]) -> list[str]:
    """Return a line a figure, for a person."""
    told = []
    for task, one in found.items():
        told.append(f"  {task}: {one.images} images, with 95 % intervals")
        told += [f"    {name:<24} {_told(interval)}" for name, interval in one.metrics.items()]
        told += [f"    calibration error {one.reliability.error:.3f}"] if one.reliability else []
        told += [f"    {line}" for line in operating_point.lines(one.kept)]
        for column, slices in one.slices.items():
            for value, part in slices.items():
                first = next(iter(part.metrics.items()), None)
                if first:
                    told.append(f"    {column} = {value} ({part.images}): {first[0]} {_told(first[1])}")
    return told


def _told(interval: Interval) -> str:
    return f"{interval.value:.3f}  {interval.low:.3f} to {interval.high:.3f}"
