"""Figures: what a model came to on one split, each with its interval; as a whole and by class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from thaw.data.labels import Annotation
from thaw.evaluation import bootstrap, calibration, operating_point
from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.operating_point import Kept
from thaw.evaluation.slices import Columns, cut
from thaw.metrics.weighted.contract import Sample
from thaw.predictor import Answers
from thaw.tasks.contract import Task


class Slice(BaseModel):
    """What a task came to on the images that share a property."""

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
    reliability: Reliability | None = None
    """How well scores are to be believed; None where answers have none."""
    kept: tuple[Kept, ...] = ()
    """How the aim of the operating point is kept."""
    slices: dict[str, dict[str, Slice]] = {}
    """Column of the table beside the images -> value -> figures."""


@dataclass(frozen=True)
class Labelled:
    """The images of a task that carry a label, in order."""

    ids: tuple[str, ...]
    sample: Sample


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
            found[name] = Labelled(tuple(ids[at] for at in places), sample)
    return found


def figures(
    tasks: Mapping[str, Task], seen: Mapping[str, Labelled], seed: int, columns: Columns | None = None
) -> dict[str, Figures]:
    """Return task -> figures.

    Args:
        seen: what `labelled` returned.
        seed: of the draws.
        columns: what a table says of the images.
    """
    found = {}
    for name, one in seen.items():
        weights = bootstrap.draws(len(one.ids), seed)
        task, point = tasks[name], tasks[name].options.operating_point
        settled = point is not None and task.answering.thresholds
        found[name] = Figures(
            images=len(one.ids),
            metrics=bootstrap.intervals(one.sample.metrics, weights),
            classes=bootstrap.by_class(one.sample, weights),
            reliability=calibration.reliability(one.sample),
            kept=tuple(operating_point.kept(one.sample, point, task.answering, task.usual, weights)) if settled else (),
            slices={
                column: {
                    name: _slice(one.sample.at(np.array(rows)), seed) for name, rows in cut(values, one.ids).items()
                }
                for column, values in (columns or {}).items()
            },
        )
    return found


def _slice(sample: Sample, seed: int) -> Slice:
    weights = bootstrap.draws(len(sample), seed)
    return Slice(images=len(sample), metrics=bootstrap.intervals(sample.metrics, weights))


def lines(found: Mapping[str, Figures]) -> list[str]:
    """Return a line a figure, for a person."""
    told = []
    for task, one in found.items():
        told.append(f"  {task}: {one.images} images, with 95 % intervals")
        told += [f"    {name:<24} {_told(interval)}" for name, interval in one.metrics.items()]
        told += [f"    calibration error {one.reliability.error:.3f}"] if one.reliability else []
        told += [f"    {line}" for line in operating_point.lines(one.kept)]
        told += [f"    {line}" for line in _slices(one)]
    return told


def _slices(found: Figures) -> Iterator[str]:
    """Yield a line a slice, with the first of the metrics."""
    metric = next(iter(found.metrics), "")
    for column, values in found.slices.items():
        yield f"by {column}, {metric}:"
        for name, one in values.items():
            yield f"  {name:<22} {_told(one.metrics[metric]) if metric in one.metrics else '-':<24} {one.images} images"


def _told(interval: Interval) -> str:
    return f"{interval.value:.3f}  {interval.low:.3f} to {interval.high:.3f}"
