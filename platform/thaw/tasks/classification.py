"""Classification: exactly one class an image."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.config.experiment import AnnotationKind, TaskOptions
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.placement import Placement
from thaw.metrics.classes import ClassMeter
from thaw.metrics.weighted.classes import ClassSample
from thaw.tasks import contract
from thaw.tasks.contract import Answer, HeadInputs, PooledHead


class Options(TaskOptions):
    """One class an image, such as a verdict or a breed."""

    annotation: ClassVar[AnnotationKind] = "class"

    type: Literal["classification"]
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """How strongly classes that are answered well already are played down in the loss; 0 counts all alike, 2 is usual.
    For rare classes and hard images; it makes probabilities more cautious."""


class ClassificationAnswer(Answer):
    """The likeliest class, and the probability of every class."""

    label: str
    score: float
    """Probability of ``label``, in [0, 1]."""
    scores: dict[str, float]
    """Probability of every class; they sum to 1."""

    def summary(self) -> Mapping[str, str]:
        return {self.label: f"{self.score:.3f}"}


class Task(contract.Task):
    """A linear head with softmax."""

    best_metric = "accuracy"
    metrics = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "auroc_macro", "auroc_right")
    answer_type = ClassificationAnswer

    def build_head(self, inputs: HeadInputs) -> nn.Module:
        return PooledHead(inputs, len(self.labels.names))

    def labelled(self, targets: Tensor) -> Tensor:
        return (targets if targets.dim() == 1 else targets[:, 0]) >= 0

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy, or focal loss, and how many images are labelled.

        Args:
            outputs: (B, C).
            targets: (B,) class indices, or (B, C) shares of classes in mixtures; negative where there is no label.
        """
        labelled = self.labelled(targets)
        given, smoothing, gamma = targets.clamp(min=0), self.options.label_smoothing, self.options.focal_gamma
        if gamma:
            each = _focal(outputs, given, smoothing, gamma)
        else:
            each = F.cross_entropy(outputs, given, label_smoothing=smoothing, reduction="none")
        return torch.where(labelled, each, 0 * outputs.sum(dim=1)).sum(), labelled.sum()

    def decode(self, outputs: Tensor, _placements: Sequence[Placement]) -> list[ClassificationAnswer]:
        probabilities = torch.softmax(outputs.float(), dim=1).cpu()
        best = probabilities.argmax(dim=1).tolist()
        names = self.labels.names
        return [
            ClassificationAnswer(label=names[top], score=row[top], scores=dict(zip(names, row, strict=True)))
            for top, row in zip(best, probabilities.tolist(), strict=True)
        ]

    def meter(self) -> "ClassAnswers":
        return ClassAnswers(self.labels)

    def sample(self, answers: Sequence[ClassificationAnswer], annotations: Sequence[Annotation]) -> ClassSample:
        scores = np.array([list(answer.scores.values()) for answer in answers])
        return ClassSample(self.labels.names, scores, self.labels.targets(annotations, 0))


def _focal(outputs: Tensor, targets: Tensor, smoothing: float, gamma: float) -> Tensor:
    """Return (B,) focal losses of class indices, or of shares of classes, of which each counts by its share.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4.
    """
    classes = outputs.shape[1]
    shares = targets if targets.dim() == 2 else F.one_hot(targets, classes)
    shares = shares.to(outputs.dtype) * (1 - smoothing) + smoothing / classes
    log = torch.log_softmax(outputs, dim=1)
    missing = (1 - log.exp()).clamp(min=1e-6)  # below gamma 1 the slope at 0 has no bound
    return -(shares * missing**gamma * log).sum(dim=1)


class ClassAnswers(ClassMeter):
    """Class metrics over answers."""

    def __init__(self, schema: LabelSchema) -> None:
        super().__init__(schema.names)
        self.schema = schema

    def update(self, answers: Sequence[ClassificationAnswer], annotations: Sequence[Annotation]) -> None:
        scores = torch.tensor([list(answer.scores.values()) for answer in answers])
        self.add(scores, torch.as_tensor(self.schema.targets(annotations, 0)))
