"""What every task offers: a head, its loss, and answers that are both scored and served.

A task is stateless and built from plain options wherever it is needed; weights live in the head.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from thaw.data.labels import LabelSchema


class Answer(BaseModel):
    """What a task says of one image. Evaluation scores it and HTTP serves it, unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Meter(Protocol):
    """Metrics that grow batch by batch, over all workers of a process group."""

    def update(self, answers: Sequence[Any], targets: Tensor) -> None:
        """Add (B,...) targets and their answers; images without a label are passed over."""

    def compute(self) -> dict[str, float]:
        """Return metric name -> value; empty when no image had a label."""

    def confusion(self) -> list[list[int]] | None:
        """Return counts of true class (rows) by answered class (columns), where the task has such."""


class Task(ABC):
    """One head of the model.

    Attributes:
        name: the user's name for it.
        labels: the classes in the order of the head's outputs.
        best_metric: the metric, higher being better, that says how good the head is.
    """

    best_metric: ClassVar[str]
    answer_type: ClassVar[type[Answer]]

    def __init__(self, name: str, options: Any, labels: LabelSchema) -> None:
        self.name = name
        self.options = options
        self.labels = labels

    @abstractmethod
    def build_head(self, num_features: int, dropout: float) -> nn.Module:
        """Return the module from (B, D) pooled features to (B, C) outputs."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over the labelled images and their number, both scalars.

        The caller divides, because only it knows how many labelled images the other workers have. The sum
        depends on ``outputs`` even where no image has a label, so that its gradient exists and is zero.
        """

    @abstractmethod
    def decode(self, outputs: Tensor) -> list[Any]:
        """Return one answer for each row of (B, C) outputs."""

    @abstractmethod
    def meter(self) -> Meter:
        """Return empty metrics for this task's answers."""
