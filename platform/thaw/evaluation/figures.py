"""Figures: what a model came to on one split, each with its interval; as a whole and by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from thaw.data.labels import Annotation
from thaw.evaluation import bootstrap, calibration, operating_point
from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.operating_point import Kept
from thaw.metrics.weighted.contract import Sample
from thaw.predictor import Answers
from thaw.tasks.contract import Task


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


def figures(tasks: Mapping[str, Task], seen: Mapping[str, Labelled], seed: int) -> dict[str, Figures]:
    """Return task -> figures.

    Args:
        seen: what `labelled` returned.
        seed: of the draws.
    """
    found = {}
    for name, one in seen.items():
        weights = bootstrap.draws(one.sample.strata(), seed)
        task, point = tasks[name], tasks[name].options.operating_point
        settled = point is not None and task.answering.thresholds
        found[name] = Figures(
            images=len(one.ids),
            metrics=bootstrap.intervals(one.sample.metrics, weights),
            classes=bootstrap.by_class(one.sample, weights),
            reliability=calibration.reliability(one.sample),
            kept=tuple(operating_point.kept(one.sample, point, task.answering, task.usual, weights)) if settled else (),
        )
    return found


def lines(found: Mapping[str, Figures]) -> list[str]:
    """Return a line a figure, for a person."""
    told = []
    for task, one in found.items():
        told.append(f"  {task}: {one.images} images, with 95 % intervals")
        told += [f"    {name:<24} {_told(interval)}" for name, interval in one.metrics.items()]
        told += [f"    calibration error {one.reliability.error:.3f}"] if one.reliability else []
        told += [f"    {line}" for line in operating_point.lines(one.kept)]
    return told


def _told(interval: Interval) -> str:
    return f"{interval.value:.3f}  {interval.low:.3f} to {interval.high:.3f}"
