"""What the HTTP interface asks of whatever answers: images in, answers out, and facts of models.

It knows nothing of Ray and nothing of tasks: an answer is served as its task shaped it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

import thaw
from thaw import overlay
from thaw.bundle import Description
from thaw.config.serving import Serve
from thaw.predictor import Answers
from thaw.tasks.contract import Answer, Masks, Task, TensorFacts


@dataclass(frozen=True)
class Asked:
    """One image that is to be answered.

    Attributes:
        content: the encoded image.
        masks: the form of masks in ``Answered.answers``.
        model: name of a model; None for the one that the endpoint is named after.
        version: number of its version; None for the one that answers at present.
        route_key: requests with the same key are answered by the same version while it is tried on a share of them.
        deadline: when the answer is of no more use, by `time.monotonic`; None if it always is.
        again: the image was answered before in this request, by another version; it is logged once.
    """

    content: bytes
    request_id: str
    route_key: str
    masks: Masks = "rle"
    model: str | None = None
    version: int | None = None
    deadline: float | None = None
    again: bool = False

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, 0 or below where it has passed; None where there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()


@dataclass(frozen=True)
class Seconds:
    """What one answer took.

    Attributes:
        decode: bytes -> the model's input.
        queue: waiting for the forward thread.
        infer: the forward pass and reading answers off it, of the whole batch.
        batch: images in that batch.
    """

    decode: float
    queue: float
    infer: float
    batch: int


@dataclass(frozen=True)
class Answered:
    """The answers to one image.

    Attributes:
        answers: task -> answer as JSON values, with masks in the form asked for.
        found: task -> answer.
        tasks: the heads of the model that answered.
        artifact: what was exported of the version and answered in its place; None where the bundle itself did.
        embedding: (D,) pooled vector of the image, where a bundle answered that was asked to tell it.
    """

    model: str
    version: int
    request_id: str
    answers: dict[str, Any]
    found: Answers
    tasks: Mapping[str, Task]
    seconds: Seconds
    artifact: str | None = None
    embedding: NDArray[np.float16] | None = None


class TaskFacts(BaseModel):
    """What one head answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    outputs: dict[str, TensorFacts]
    """Name -> what it is, of every array that answers become in the Open Inference Protocol."""
    type: str
    classes: tuple[str, ...]
    """In the order of the head's outputs, which is that of class indices."""
    thresholds: dict[str, float]
    """Class -> score from which on it is answered, or answered as sure. Classes without one are answered where they are
    the likeliest."""
    settled: bool
    """Whether the thresholds are an operating point, chosen on validation images; else they are the usual ones."""
    positive: str | None
    """The one class of several that is answered by its threshold alone."""
    unsure: float
    """Scores nearer than this to their threshold are unsure."""
    lowest: float
    """Score below which nothing is told at all."""
    most: int | None
    """Most things that are told of an image, the best by score; null where there is no such bound."""
    background: str | None
    """Class of the pixels that show none of the things looked for, where there is one and it is known."""
    colours: dict[str, str]
    """Class -> the colour that it has in every picture of this model, as #rrggbb; of classes that can be drawn."""


class Facts(BaseModel):
    """Which model answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    model: str
    version: int
    versions: tuple[int, ...] = ()
    """Every version that can be asked for."""
    artifact: str | None = None
    """What was exported of the version and answers in its place; null where the bundle itself does."""
    size: int
    """Side of the network's square input, in pixels; images of any size are brought to it."""
    ready: bool = True
    """Whether it is in memory; one that is not is loaded when it is asked first."""
    tasks: dict[str, TaskFacts]
    thaw_version: str = thaw.__version__


@dataclass(frozen=True)
class ModelCard:
    """What a person must know of a version, as Markdown."""

    model: str
    version: int
    text: str


class Endpoint(Protocol):
    """Whatever answers: a Ray Serve replica, or a bundle in this process."""

    @property
    def name(self) -> str:
        """The model that requests mean which name none."""
        ...

    @property
    def settings(self) -> Serve:
        """How it answers: limits and the like."""
        ...

    @property
    def answer_types(self) -> Mapping[str, type[Answer]]:
        """Task -> type of its answers, of the model of that name as it was when the endpoint began."""
        ...

    async def answer(self, asked: Asked) -> Answered:
        """Return every task's answer to one encoded image.

        Raises:
            BadImage: the image cannot be decoded within the limits.
            Refused: there is no such model or version, too many requests wait, or the deadline has passed.
        """
        ...

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        """Return what is known of a model.

        Raises:
            Refused: there is no such model or version.
        """
        ...

    async def card(self, name: str | None = None, version: int | None = None) -> ModelCard:
        """Return the card of a model; nothing is loaded for it.

        Raises:
            Refused: there is no such model or version, or it has no card.
        """
        ...


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    error: str
    """A short code that programs can rely on."""
    detail: str
    """What is wrong and what is allowed."""
    request_id: str


class Refused(Exception):  # noqa: N818 - it names what became of a request
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        error, detail: as in `Problem`.
        retry_after: seconds after which it may be sent again, where that would help.
    """

    def __init__(self, status: int, error: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(status, error, detail)
        self.status, self.error, self.detail, self.retry_after = status, error, detail, retry_after

    def __str__(self) -> str:
        return f"{self.status} {self.error}: {self.detail}"


class Described(Protocol):
    """What a bundle says of itself, whether its weights are loaded or not."""

    @property
    def description(self) -> Description: ...

    @property
    def tasks(self) -> Mapping[str, Task]: ...


def facts_of(name: str, version: int, of: Described, artifact: str | None = None) -> Facts:
    """Return what a model says of itself."""
    described, palette = of.description, overlay.palette(of.description.labels)
    tasks = {
        name: TaskFacts(
            type=described.tasks[name].type,
            classes=task.labels.names,
            thresholds=task.thresholds(),
            settled=bool(task.answering.thresholds),
            positive=task.answering.positive,
            unsure=task.answering.unsure,
            lowest=task.lowest,
            most=task.most,
            background=task.background,
            colours={one: "#{:02x}{:02x}{:02x}".format(*palette[one]) for one in task.labels.names if one in palette},
            outputs=task.tensor_facts(),
        )
        for name, task in of.tasks.items()
    }
    return Facts(model=name, version=version, artifact=artifact, size=described.preprocess.size, tasks=tasks)
