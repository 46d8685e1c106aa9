"""The gate: an artifact is worth something once it was seen to answer as its parent does.

Both answer the same validation images through the same `predictor.answer`. What may differ is a matter of tolerance;
what is not a number never passes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from thaw import bundle, predictor
from thaw.evaluation.evaluate import Tally
from thaw.export.validation import Seen
from thaw.predictor import Answers, Backend
from thaw.tasks.contract import Answer, Task

_ROUNDING = 1e-6
"""By how much a difference of two figures may be off, being one of floating-point numbers."""


class Tolerance(BaseModel):
    """How much worse than its parent an artifact may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: float = Field(0.005, ge=0, le=1)
    """Largest fall of a task's best metric."""
    flips: float = Field(0.02, ge=0, le=1)
    """Largest share of a task's decisions that may differ, as `Answer.disagreement` has it; and by what share the
    decisions may differ that it is unsure about."""


class Figures(BaseModel):
    """One task's answers of both, compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    parent: float | None
    """Its value for the parent; None where no image carries a label for the task."""
    artifact: float | None
    flips: float
    """Mean share of what is decided differently, over images."""
    unsure: float = 0.0
    """By what share of an image's decisions what the two are unsure about differs, in the mean."""
    farthest: float
    """Largest distance of two answers to the same image."""
    mean: float
    """Mean distance."""

    @property
    def drop(self) -> float:
        """By how much the metric falls; below zero where it rises."""
        return 0.0 if self.parent is None or self.artifact is None else self.parent - self.artifact


class Verdict(BaseModel):
    """What the gate found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    tolerance: Tolerance
    tasks: dict[str, Figures]
    """Empty where an output was not a finite number."""
    reasons: tuple[str, ...]
    """Why the artifact is refused; none where it passes."""

    @property
    def passed(self) -> bool:
        """Whether the artifact may be registered."""
        return not self.reasons

    @property
    def mean(self) -> float:
        """Mean distance of answers over all tasks; infinite where they are no numbers."""
        return sum(one.mean for one in self.tasks.values()) / len(self.tasks) if self.tasks else float("inf")


def judge(parent: Backend, artifact: Backend, seen: Iterable[Seen], tolerance: Tolerance) -> Verdict:
    """Let both answer the same images, and say whether the artifact may stand for its parent."""
    sides = [_Side(parent), _Side(artifact)]
    apart = {name: _Apart() for name in parent.tasks}
    for batch in seen:
        try:
            theirs, ours = (side.answer(batch) for side in sides)
        except _NotFiniteError as error:
            return Verdict(images=sides[0].tally.images, tolerance=tolerance, tasks={}, reasons=(str(error),))
        for name, between in apart.items():
            between.add([one[name] for one in theirs], [one[name] for one in ours])
    of_parent, of_artifact = (side.tally.metrics() for side in sides)
    figures = {
        name: apart[name].figures(task, of_parent.get(name, {}), of_artifact.get(name, {}))
        for name, task in parent.tasks.items()
    }
    reasons = (reason for name, one in figures.items() for reason in _reasons(name, one, tolerance))
    return Verdict(images=sides[0].tally.images, tolerance=tolerance, tasks=figures, reasons=tuple(reasons))


def _reasons(task: str, found: Figures, tolerance: Tolerance) -> Iterable[str]:
    if found.drop > tolerance.drop + _ROUNDING:
        fall = f"{found.metric} falls from {found.parent:.4f} to {found.artifact:.4f}"
        yield f"{task}: {fall}; {tolerance.drop:g} is allowed"
    if found.flips > tolerance.flips + _ROUNDING:
        yield f"{task}: {found.flips:.2%} of what it decides differs from its parent; {tolerance.flips:.2%} is allowed"
    if found.unsure > tolerance.flips + _ROUNDING:
        said = f"what it is unsure about differs from its parent by {found.unsure:.2%} of what it decides"
        yield f"{task}: {said}; {tolerance.flips:.2%} is allowed"


class _NotFiniteError(Exception):
    """An output is not a finite number."""


class _Side:
    """One of the two, counting what it comes to."""

    def __init__(self, network: Backend) -> None:
        self._watched = _Watched(network)
        self.tally = Tally(network.tasks)

    def answer(self, batch: Seen) -> list[Answers]:
        answers = predictor.answer(self._watched, batch.images)
        self.tally.add(answers, batch.annotations)
        return answers


class _Watched:
    """A network whose outputs are looked at before answers are read off them."""

    def __init__(self, network: Backend) -> None:
        self._network = network

    @property
    def description(self) -> bundle.Description:
        return self._network.description

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self._network.tasks

    def readouts(self, pixels: Tensor) -> Mapping[str, Mapping[str, Tensor]]:
        """Return the network's.

        Raises:
            _NotFiniteError: some of them is not a finite number.
        """
        found = self._network.readouts(pixels)
        for task, outputs in found.items():
            for name, values in outputs.items():
                if not bool(torch.isfinite(values).all()):
                    raise _NotFiniteError(f"{task}: its output {name} is not a finite number on some image")
        return found


@dataclass
class _Apart:
    """Distances of the answers to one task, image by image."""

    flips: list[float] = field(default_factory=list)
    unsure: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)

    def add(self, theirs: Iterable[Answer], ours: Iterable[Answer]) -> None:
        for one, other in zip(theirs, ours, strict=True):
            self.flips.append(one.disagreement(other))
            self.unsure.append(abs(one.abstained() - other.abstained()))
            self.distances.append(one.distance(other))

    def figures(self, task: Task, parent: Mapping[str, float], artifact: Mapping[str, float]) -> Figures:
        return Figures(
            metric=task.best_metric,
            parent=parent.get(task.best_metric),
            artifact=artifact.get(task.best_metric),
            flips=sum(self.flips) / len(self.flips),
            unsure=sum(self.unsure) / len(self.unsure),
            farthest=max(self.distances),
            mean=sum(self.distances) / len(self.distances),
        )
