"""Classification: exactly one class an image."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.config.experiment import AnnotationKind, TaskOptions
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.placement import Placement
from thaw.metrics.classes import ClassMeter
from thaw.metrics.weighted.classes import ClassSample
from thaw.tasks import contract
from thaw.tasks.contract import Answer, Array, HeadInputs, PooledHead, TensorFacts


class Options(TaskOptions):
    """One class an image, such as a verdict or a breed."""

    annotation: ClassVar[AnnotationKind] = "class"
    aims: ClassVar[tuple[str, ...]] = ("max_false_positive_rate", "min_recall", "min_precision", "best")

    type: Literal["classification"]
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """How strongly classes that are answered well already are played down in the loss; 0 counts all alike, 2 is usual.
    For rare classes and hard images; it makes probabilities more cautious."""

    @model_validator(mode="after")
    def _name_the_class_that_is_to_be_found(self) -> Self:
        point = self.operating_point
        if point and point.positive is None and point.aim in ("min_recall", "best"):
            raise ValueError(
                f"operating_point: with one class an image, {point.aim} is of one of them: name it as positive, or "
                "take max_false_positive_rate or min_precision"
            )
        return self


class ClassificationAnswer(Answer):
    """The class, and the probability of every class."""

    label: str
    """The likeliest class, unless an operating point says from which probability on another is answered."""
    score: float
    """Probability of ``label``, in [0, 1]."""
    scores: dict[str, float]
    """Probability of every class; they sum to 1."""
    unsure: bool = False
    """Whether the operating point asks for more than this probability, so that a person had better look."""

    def summary(self) -> Mapping[str, str]:
        return {self.label: f"{self.score:.3f}{' unsure' if self.unsure else ''}"}

    def decided(self) -> Sequence[tuple[str, float]]:
        return [(self.label, self.score)]

    def abstained(self) -> float:
        return float(self.unsure)

    def distance(self, other: Self) -> float:
        return max(abs(score - other.scores[name]) for name, score in self.scores.items())

    def disagreement(self, other: Self) -> float:
        return float(self.label != other.label)


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

    def readout(self, outputs: Tensor) -> dict[str, Tensor]:
        return {"probabilities": torch.softmax(outputs.float() / self.answering.temperature, dim=1)}

    def reading(self) -> dict[str, Any]:
        rule = self.answering
        return {
            "outputs": {"probabilities": "(B, C) float32: the probability of each class; a row sums to 1"},
            "classes": list(self.labels.names),
            "positive": rule.positive,
            "thresholds": rule.thresholds,
            "unsure": rule.unsure,
            "steps": [
                "the label is the class of the largest probability, the first of equal ones; where positive is a "
                "class, it is the label if its probability reaches its threshold, and never otherwise",
                "of the class that decides (positive, or else the label) the threshold is looked up; 0 where it has "
                "none",
                "the answer is unsure where thresholds are given and the probability of the class that decides is "
                "nearer to its threshold than unsure, or, without a positive, below it",
            ],
        }

    def read(self, readout: Mapping[str, Tensor], _placements: Sequence[Placement]) -> list[ClassificationAnswer]:
        return [self._answer(row) for row in readout["probabilities"].tolist()]

    def _answer(self, row: list[float]) -> ClassificationAnswer:
        """Return the answer to an image, given the probability of every class."""
        names, rule = self.labels.names, self.answering
        top = max(range(len(row)), key=row.__getitem__)
        decides = top
        if rule.positive is not None:
            decides = self.labels.index[rule.positive]
            others = [place for place in range(len(row)) if place != decides]
            found = row[decides] >= rule.thresholds[rule.positive]
            top = decides if found else max(others, key=row.__getitem__)
        threshold = rule.thresholds.get(names[decides], 0.0)
        short = rule.positive is None and row[decides] < threshold
        near = bool(rule.thresholds) and abs(row[decides] - threshold) < rule.unsure
        scores = dict(zip(names, row, strict=True))
        return ClassificationAnswer(label=names[top], score=row[top], scores=scores, unsure=short or near)

    def tensor_facts(self) -> dict[str, TensorFacts]:
        classes = len(self.labels.names)
        return {
            "label": TensorFacts("INT64", (), "index of the class that is answered"),
            "scores": TensorFacts("FP32", (classes,), "probability of each class; they sum to 1"),
            "unsure": TensorFacts("INT64", (), "1 where the operating point asks for more, else 0"),
        }

    def tensors(self, answers: Sequence[ClassificationAnswer]) -> dict[str, Array]:
        return {
            "label": np.array([self.labels.index[one.label] for one in answers], np.int64),
            "scores": np.array([list(one.scores.values()) for one in answers], np.float32),
            "unsure": np.array([one.unsure for one in answers], np.int64),
        }

    def meter(self) -> "ClassAnswers":
        return ClassAnswers(self.labels)

    def sample(self, answers: Sequence[ClassificationAnswer], annotations: Sequence[Annotation]) -> ClassSample:
        scores = np.array([list(answer.scores.values()) for answer in answers])
        answered = np.array([self.labels.index[answer.label] for answer in answers])
        unsure = np.array([answer.unsure for answer in answers])
        return ClassSample(self.labels.names, scores, self.labels.targets(annotations, 0), answered, unsure)


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
        answered = torch.tensor([self.schema.index[answer.label] for answer in answers])
        self.add(scores, torch.as_tensor(self.schema.targets(annotations, 0)), answered)
