"""Worst: the images that a model answers worst."""

from dataclasses import dataclass

import numpy as np

from thaw.evaluation.evaluate import Answered
from thaw.evaluation.figures import Labelled
from thaw.evaluation.pictures import words
from thaw.tasks.contract import Answer, Task
from thaw.truth import Truth

MOST = 24
"""Images of a task that are shown."""


@dataclass(frozen=True)
class Case:
    """One image, answered badly.

    Attributes:
        note: what it carries and what was answered, in words.
    """

    id: str
    answer: Answer
    note: str


def worst(task: Task, seen: Labelled, answered: Answered) -> list[Case]:
    """Return the images of a task whose answer is not wholly right, the one farthest from the truth first."""
    losses, good = seen.sample.losses(), seen.sample.goodness()
    wrong = np.flatnonzero(good < 1)
    order = wrong[np.argsort(-losses[wrong], kind="stable")][:MOST]
    places = {image: place for place, image in enumerate(answered.ids)}
    return [_case(task, seen.ids[row], answered, places[seen.ids[row]]) for row in order.tolist()]


def _case(task: Task, image: str, answered: Answered, place: int) -> Case:
    answer, truth = answered.answers[place][task.name], answered.annotations[place][task.name]
    return Case(image, answer, f"{words(Truth.of(task.labels, truth))}; answered {words(answer)}")
