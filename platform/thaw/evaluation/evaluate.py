"""Scoring stored answers: the metrics of every task, and the confusion matrices, from what was answered."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from thaw.data.labels import Annotation
from thaw.evaluation.figures import Figures
from thaw.predictor import Answers
from thaw.tasks.contract import Task


class Answered(NamedTuple):
    """The images of a split in order, with what was answered and what they carry."""

    ids: list[str]
    answers: list[Answers]
    annotations: list[dict[str, Annotation]]


class Mistaken(NamedTuple):
    """A class that was taken for another."""

    label: str
    answer: str
    times: int
    share: float
    """Of all with the label."""


class Confusion(BaseModel):
    """How often each class was answered for each class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """True class by row, answered class by column."""
    of: Literal["image", "pixel"] = "image"
    """What is counted."""

    def mistaken(self, most: int) -> list[Mistaken]:
        """Return the pairs of classes that are taken for another most often."""
        counts = np.asarray(self.counts, dtype=np.int64)
        off = counts * (1 - np.eye(len(counts), dtype=np.int64))
        order = np.argsort(-off, axis=None, kind="stable")[:most]
        places = (divmod(int(one), len(counts)) for one in order)
        return [
            Mistaken(self.names[label], self.names[answer], int(found), float(found / counts[label].sum()))
            for label, answer in places
            if (found := off[label, answer])
        ]


class Scores(BaseModel):
    """What a model came to on one split of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    artifact: str | None = None
    """Which of the model's artifacts answered in its place."""
    dataset: str
    split: str
    images: int
    metrics: dict[str, dict[str, float]]
    """Task -> metric -> value; a task without labels is left out."""
    confusions: dict[str, Confusion]
    figures: dict[str, Figures] = {}
    """Task -> its metrics with intervals, as a whole and by class."""
    looks: int = 0
    """How many times the dataset's test images have been looked at, with this one; 0 on validation images."""
    answers: str
    """Parquet file, below the storage root, with every image's answer."""

    @property
    def report(self) -> str:
        """Where the page is, below the storage root."""
        return self.answers.removesuffix(".parquet") + ".html"


class Tally:
    """The metrics of all tasks, growing answer by answer."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._meters = {name: task.meter() for name, task in tasks.items()}
        self.images = 0

    def add(self, answers: Sequence[Answers], annotations: Sequence[Mapping[str, Annotation]]) -> None:
        """Add the answers to some images, and what the images carry."""
        self.images += len(answers)
        for name, meter in self._meters.items():
            meter.update([one[name] for one in answers], [carried[name] for carried in annotations])

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return task -> metric -> value."""
        found = {name: meter.compute() for name, meter in self._meters.items()}
        return {name: values for name, values in found.items() if values}

    def confusions(self) -> dict[str, Confusion]:
        """Return the confusion matrix of every task that has one."""
        tables = {name: self._meters[name].confusion() for name in self.metrics()}
        return {
            name: Confusion(
                names=self._tasks[name].labels.names,
                counts=tuple(map(tuple, counts)),
                of="pixel" if self._tasks[name].labels.kind == "mask" else "image",
            )
            for name, counts in tables.items()
            if counts is not None
        }


def as_answers(stored: Mapping[str, Any], tasks: Mapping[str, Task]) -> Answers:
    """Return the answers that a stored JSON object holds."""
    return {name: task.answer_type.model_validate(stored[name]) for name, task in tasks.items()}
