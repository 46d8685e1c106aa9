"""What every task offers: a head, its loss, and answers that are both scored and served.

A task is stateless and built from plain options wherever it is needed; weights live in the head.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from thaw.backbones.contract import Features
from thaw.catalog import did_you_mean
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.placement import Placement
from thaw.data.rle import Rle
from thaw.errors import ConfigError
from thaw.metrics.weighted.contract import Sample

Masks = Literal["rle", "png", "none"]
"""How masks are served: as run lengths by class, as one picture of class indices, or not at all."""


@dataclass(frozen=True)
class Marks:
    """What can be drawn of an answer, in pixels of the image.

    Attributes:
        boxes: x0, y0, x1, y1, class name and score each, best first; of those that are sure enough.
        masks: class name -> its pixels.
        classes: every class that pixels could be of.
    """

    boxes: tuple[tuple[tuple[float, float, float, float], str, float], ...] = ()
    masks: Mapping[str, Rle] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


class Answering(BaseModel):
    """What is settled on the validation images after training of how a head's outputs become answers; no weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(1.0, gt=0)
    """What outputs are divided by before they become scores; above 1 makes them more cautious."""
    thresholds: dict[str, float] = {}
    """Class -> score from which on it is answered; those that are left out keep the task's own rule."""
    positive: str | None = None
    """The one class of several that is answered by its threshold alone."""
    unsure: float = 0.0
    """Scores nearer than this to their threshold are unsure."""
    unpromised: tuple[str, ...] = ()
    """Classes with a threshold of which there were too few validation images to expect new ones to keep to the aim."""

    def of_classes(self, names: Sequence[str], usual: float) -> list[float]:
        """Return the threshold of every class; usual ones move with the scores: a temperature changes no answer."""
        return [self.thresholds.get(name, self.tempered(usual)) for name in names]

    def tempered(self, score: float) -> float:
        """Return a score in [0, 1] as it is with the temperature, where each stands by itself."""
        if self.temperature == 1 or not 0 < score < 1:
            return score
        return 1 / (1 + math.exp(-math.log(score / (1 - score)) / self.temperature))


Array = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True)
class TensorFacts:
    """One of the arrays that answers become for programs that want no words.

    Attributes:
        datatype: as the Open Inference Protocol names it.
        shape: of the answer to one image; -1 where it differs from image to image.
    """

    datatype: Literal["FP32", "INT64"]
    shape: tuple[int, ...]
    meaning: str


class Answer(BaseModel):
    """What a task says of one image. Evaluation scores it and HTTP serves it, unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def forms(cls) -> tuple[type[BaseModel], ...]:
        """Return every shape that `shown` can give, for the OpenAPI document."""
        return (cls,)

    def shown(self, masks: Masks) -> BaseModel:  # noqa: ARG002 - for answers that have some
        """Return what HTTP serves where masks are asked for in some form; with ``rle`` that is the answer itself."""
        return self

    def summary(self) -> Mapping[str, str]:
        """Return class name -> a word on it, the most telling class first; empty where nothing was found."""
        return {}

    def decided(self) -> Sequence[tuple[str, float]]:
        """Return class name and score of all that is answered, as it is counted and logged, without what is not sure.

        Of pixels, the score is the share of the image that the class covers.
        """
        raise NotImplementedError

    def abstained(self) -> float:
        """Return the share of what is decided of which the model is not sure, so that a person had better look."""
        return 0.0

    def marks(self) -> Marks:
        """Return what can be drawn of it; nothing where the answer is of the image as a whole."""
        return Marks()

    def distance(self, other: Self) -> float:
        """Return how far two answers to the same image are apart at most, in [0, 1]: in scores, places or pixels."""
        raise NotImplementedError

    def disagreement(self, other: Self) -> float:
        """Return the share of what two answers to the same image decide that they decide differently, in [0, 1]."""
        raise NotImplementedError


class Meter(Protocol):
    """Metrics that grow batch by batch, over all workers of a process group."""

    def update(self, answers: Sequence[Any], annotations: Sequence[Annotation]) -> None:
        """Add answers and what their images carry, in the same pixels; images without a label are passed over."""

    def compute(self) -> dict[str, float]:
        """Return metric name -> value; empty when no image had a label."""

    def confusion(self) -> list[list[int]] | None:
        """Return counts of true class (rows) by answered class (columns), where the task has such."""

    def curves(self) -> tuple[Tensor, Tensor] | None:
        """Return (N, C) scores and truths of whole images, where the task has such; called by all workers alike."""


def filled(rows: Sequence[Array], fill: int) -> Array:
    """Return arrays of any lengths, equal in their other dimensions and their type, as the rows of one."""
    longest = max(len(row) for row in rows)
    whole = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return whole


@dataclass(frozen=True)
class HeadInputs:
    """What a head is given to build on.

    Attributes:
        num_features: D, the length of the pooled vector.
        dropout: share of features dropped while training.
        num_channels: C of every map of the pyramid.
        strides: pixels of the input per place of each map, finest first; none where no task looks at maps.
    """

    num_features: int
    dropout: float
    num_channels: int
    strides: tuple[float, ...]


class PooledHead(nn.Sequential):
    """A linear layer on the pooled vector."""

    def __init__(self, inputs: HeadInputs, outputs: int) -> None:
        super().__init__(nn.Dropout(inputs.dropout), nn.Linear(inputs.num_features, outputs))

    def forward(self, features: Features, _targets: Tensor | None = None) -> Tensor:
        """Return (B, C) outputs."""
        outputs: Tensor = super().forward(features.pooled)  # type: ignore[no-untyped-call]
        return outputs.float()


class Task(ABC):
    """One head of the model.

    Attributes:
        name: the user's name for it.
        labels: the classes in the order of the head's outputs.
        answering: what was settled after training of how outputs become answers.
        best_metric: the metric, higher being better, that says how good the head is.
        metrics: every metric of the task as a whole that its meter may give, higher being better but for those in
            ``lower``; figures of one class come on top.
        finest: smallest stride of the maps that the head looks at, in pixels; None if it looks at none.
        usual: score from which a class is answered where no operating point was chosen.
    """

    best_metric: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    lower: ClassVar[tuple[str, ...]] = ()
    finest: int | None = None
    usual: float = 0.0
    answer_type: ClassVar[type[Answer]]

    def __init__(self, name: str, options: Any, labels: LabelSchema, answering: Answering | None = None) -> None:
        """Build the task.

        Raises:
            ConfigError: the operating point is of a class that is not among the labels.
        """
        point = options.operating_point
        if point and point.positive is not None and point.positive not in labels.names:
            raise ConfigError(
                f"tasks.{name}.operating_point.positive: no class {point.positive!r}; known: {', '.join(labels.names)}"
                f"{did_you_mean(point.positive, labels.names)}"
            )
        self.name = name
        self.options = options
        self.labels = labels
        self.answering = answering or Answering()

    @property
    def lowest(self) -> float:
        """Score below which nothing is told at all."""
        return 0.0

    @property
    def most(self) -> int | None:
        """Most things that are told of an image, the best by score; None where there is no such bound."""
        return None

    @property
    def background(self) -> str | None:
        """Class of the pixels that show none of the things looked for, where there is one and it is known."""
        return None

    def thresholds(self) -> dict[str, float]:
        """Return class -> score from which on it is answered, or is sure; of the classes that have such a score."""
        return dict(self.answering.thresholds)

    @abstractmethod
    def build_head(self, inputs: HeadInputs) -> nn.Module:
        """Return the module that is called with (`Features`, targets or None) and returns fp32 outputs.

        Targets are given in training alone, to heads that choose by them what they look at.
        """

    @abstractmethod
    def labelled(self, targets: Tensor) -> Tensor:
        """Return (B,) bool: which images have a label."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over the labelled images and their number, both scalars.

        The caller divides, because only it knows how many labelled images the other workers have. The sum
        depends on ``outputs`` even where no image has a label, so that its gradient exists and is zero.
        """

    @abstractmethod
    def readout(self, outputs: Any) -> dict[str, Tensor]:
        """Return what answers are read off, by name: what leaves an exported network in place of the head's outputs.

        Arithmetic on tensors alone, with images as the rows of each.
        """

    @abstractmethod
    def read(self, readout: Mapping[str, Tensor], placements: Sequence[Placement]) -> list[Any]:
        """Return the answers to B images, in pixels of the images that were placed."""

    @abstractmethod
    def reading(self) -> dict[str, Any]:
        """Return what `read` does, for programs that do without Thaw: in words, with all that it depends on."""

    @abstractmethod
    def tensor_facts(self) -> dict[str, TensorFacts]:
        """Return name -> what it is, of every array that `tensors` gives."""

    @abstractmethod
    def tensors(self, answers: Sequence[Any]) -> dict[str, Array]:
        """Return the answers to B images, one or more, as arrays whose rows are images.

        Rows of different lengths are filled up at their end; `tensor_facts` says with what.
        """

    def decode(self, outputs: Any, placements: Sequence[Placement]) -> list[Any]:
        """Return the answers to B images from the head's outputs, in pixels of the images that were placed."""
        return self.read(self.readout(outputs), placements)

    @abstractmethod
    def meter(self) -> Meter:
        """Return empty metrics for this task's answers."""

    @abstractmethod
    def sample(self, answers: Sequence[Any], annotations: Sequence[Annotation]) -> Sample:
        """Return answers to images, each with a label, as intervals and comparisons need them.

        Args:
            answers: one or more.
            annotations: what their images carry, none missing.
        """
