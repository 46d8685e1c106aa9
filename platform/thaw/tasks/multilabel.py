"""Multilabel: any number of classes an image, each on its own."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.config.experiment import AnnotationKind, TaskOptions
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.placement import Placement
from thaw.metrics.classes import LabelSetMeter
from thaw.metrics.weighted.classes import SetSample
from thaw.tasks import contract
from thaw.tasks.contract import Answer, Answering, Array, HeadInputs, PooledHead, TensorFacts


class Options(TaskOptions):
    """Any number of classes an image, such as tags."""

    annotation: ClassVar[AnnotationKind] = "classes"
    aims: ClassVar[tuple[str, ...]] = ("max_false_positive_rate", "min_recall", "min_precision", "best")

    type: Literal["multilabel"]
    threshold: float = Field(0.5, gt=0, lt=1)
    """A class is answered when its probability reaches this, unless an operating point chooses one for it."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target of each class that is spread evenly over yes and no."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """How strongly what is answered well already is played down in the loss; 0 counts all alike, 2 is usual. For rare
    classes; it makes probabilities more cautious."""


class MultilabelAnswer(Answer):
    """The classes that reach the threshold, and the probability of every class."""

    labels: tuple[str, ...]
    scores: dict[str, float]
    """Probability of each class on its own, in [0, 1]."""
    unsure: tuple[str, ...] = ()
    """Classes, answered or not, whose probability is so near to their threshold that a person had better look."""

    def summary(self) -> Mapping[str, str]:
        found = sorted(self.labels, key=self.scores.__getitem__, reverse=True)
        return {name: f"{self.scores[name]:.3f}" for name in found}

    def decided(self) -> Sequence[tuple[str, float]]:
        return [(name, self.scores[name]) for name in self.labels]

    def abstained(self) -> float:
        return len(self.unsure) / len(self.scores)

    def distance(self, other: Self) -> float:
        return max(abs(score - other.scores[name]) for name, score in self.scores.items())

    def disagreement(self, other: Self) -> float:
        return len(set(self.labels) ^ set(other.labels)) / len(self.scores)


class Task(contract.Task):
    """A linear head with one sigmoid a class."""

    best_metric = "f1_macro"
    metrics = ("f1_macro", "exact_match", "precision_macro", "recall_macro", "auroc_macro", "average_precision_macro")
    answer_type = MultilabelAnswer

    def __init__(self, name: str, options: Options, labels: LabelSchema, answering: Answering | None = None) -> None:
        super().__init__(name, options, labels, answering)
        self.usual = options.threshold

    def thresholds(self) -> dict[str, float]:
        names = self.labels.names
        return dict(zip(names, self.answering.of_classes(names, self.usual), strict=True))

    def build_head(self, inputs: HeadInputs) -> nn.Module:
        return PooledHead(inputs, len(self.labels.names))

    def labelled(self, targets: Tensor) -> Tensor:
        return targets[:, 0] >= 0

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over labelled images of the mean cross-entropy, or focal loss, of the classes.

        Args:
            outputs: (B, C).
            targets: (B, C) zeros and ones, or shares in mixtures; negative where there is no label.
        """
        labelled = self.labelled(targets)
        shares = targets.clamp(min=0).to(outputs.dtype)
        if self.options.label_smoothing:
            shares = shares * (1 - self.options.label_smoothing) + self.options.label_smoothing / 2
        if self.options.focal_gamma:
            each = _focal(outputs, shares, self.options.focal_gamma)
        else:
            each = F.binary_cross_entropy_with_logits(outputs, shares, reduction="none")
        return (each.mean(dim=1) * labelled).sum(), labelled.sum()

    def readout(self, outputs: Tensor) -> dict[str, Tensor]:
        return {"probabilities": torch.sigmoid(outputs.float() / self.answering.temperature)}

    def reading(self) -> dict[str, Any]:
        return {
            "outputs": {"probabilities": "(B, C) float32: the probability of each class on its own"},
            "classes": list(self.labels.names),
            "thresholds": self.thresholds(),
            "unsure": self.answering.unsure,
            "steps": [
                "the labels are the classes whose probability reaches their threshold",
                "a class, answered or not, is unsure where its probability is nearer to its threshold than unsure",
            ],
        }

    def read(self, readout: Mapping[str, Tensor], _placements: Sequence[Placement]) -> list[MultilabelAnswer]:
        rows = readout["probabilities"].tolist()
        return [self._answer(dict(zip(self.labels.names, row, strict=True))) for row in rows]

    def _answer(self, scores: dict[str, float]) -> MultilabelAnswer:
        """Return the answer to an image, given the probability of every class."""
        rule, least = self.answering, self.thresholds()
        return MultilabelAnswer(
            labels=tuple(name for name, score in scores.items() if score >= least[name]),
            scores=scores,
            unsure=tuple(name for name, score in scores.items() if abs(score - least[name]) < rule.unsure),
        )

    def tensor_facts(self) -> dict[str, TensorFacts]:
        classes = (len(self.labels.names),)
        return {
            "labels": TensorFacts("INT64", classes, "1 for each class that is answered, else 0"),
            "scores": TensorFacts("FP32", classes, "probability of each class on its own"),
            "unsure": TensorFacts("INT64", classes, "1 for each class that is near to its threshold, else 0"),
        }

    def tensors(self, answers: Sequence[MultilabelAnswer]) -> dict[str, Array]:
        names = self.labels.names
        return {
            "labels": _answered(answers, self.labels).astype(np.int64),
            "scores": np.array([list(one.scores.values()) for one in answers], np.float32),
            "unsure": np.array([[name in one.unsure for name in names] for one in answers], np.int64),
        }

    def meter(self) -> "SetAnswers":
        return SetAnswers(self.labels)

    def sample(self, answers: Sequence[MultilabelAnswer], annotations: Sequence[Annotation]) -> SetSample:
        scores = np.array([list(answer.scores.values()) for answer in answers])
        targets = self.labels.targets(annotations, 0) > 0
        return SetSample(self.labels.names, scores, targets, _answered(answers, self.labels))


def _focal(outputs: Tensor, shares: Tensor, gamma: float) -> Tensor:
    """Return (B, C) focal losses, yes and no counting by their shares.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4.
    """
    yes, no = F.logsigmoid(outputs), F.logsigmoid(-outputs)
    return -shares * (gamma * no).exp() * yes - (1 - shares) * (gamma * yes).exp() * no


class SetAnswers(LabelSetMeter):
    """Label-set metrics over answers."""

    def __init__(self, schema: LabelSchema) -> None:
        super().__init__(schema.names)
        self.schema = schema

    def update(self, answers: Sequence[MultilabelAnswer], annotations: Sequence[Annotation]) -> None:
        scores = torch.tensor([list(answer.scores.values()) for answer in answers])
        answered = torch.from_numpy(_answered(answers, self.schema)).long()
        self.add(scores, torch.as_tensor(self.schema.targets(annotations, 0)), answered)


def _answered(answers: Sequence[MultilabelAnswer], schema: LabelSchema) -> NDArray[np.bool_]:
    """Return (B, C) which classes were answered."""
    return np.array([[name in answer.labels for name in schema.names] for answer in answers], dtype=bool)
