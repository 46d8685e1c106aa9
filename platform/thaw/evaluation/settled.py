"""Settled: what is fixed on validation images after training of how a model answers, task by task."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from thaw.evaluation import bootstrap, calibration, operating_point
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.figures import Labelled
from thaw.evaluation.operating_point import Kept
from thaw.tasks.contract import Answering, Task


class Settled(BaseModel):
    """How one head's scores and thresholds came to be, on the validation images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    """Validation images with a label."""
    answering: Answering
    before: Reliability | None
    """How well scores were to be believed as they were; None where answers have none."""
    after: Reliability | None
    kept: tuple[Kept, ...]
    """How the aim of the operating point is kept on the very images that it was chosen on."""


def settle(tasks: Mapping[str, Task], seen: Mapping[str, Labelled], seed: int) -> dict[str, Settled]:
    """Return what is settled for every task that has labelled validation images.

    Args:
        seen: answers to validation images, given without anything settled.
    """
    return {name: _settled(tasks[name], one, seed) for name, one in seen.items()}


def _settled(task: Task, seen: Labelled, seed: int) -> Settled:
    point, sample = task.options.operating_point, seen.sample
    temperature = calibration.temperature(sample)
    answering, after = operating_point.settle(sample, point, temperature), sample.tempered(temperature)
    kept: list[Kept] = []
    if point:
        weights = bootstrap.draws(len(sample), seed)
        kept = operating_point.kept(after, point, answering, task.usual, weights)
    return Settled(
        images=len(seen.ids),
        answering=answering,
        before=calibration.reliability(sample),
        after=calibration.reliability(after),
        kept=tuple(kept),
    )


def lines(found: Mapping[str, Settled]) -> list[str]:
    """Return what was settled, for a person."""
    told = []
    for name, one in found.items():
        if one.before and one.after:
            change = f"calibration error {one.before.error:.3f} -> {one.after.error:.3f}"
            told.append(f"{name}: temperature {one.answering.temperature:.2f}, {change} on {one.images} val images")
        told += [f"{name}: {line}" for line in operating_point.lines(one.kept)]
    return told
