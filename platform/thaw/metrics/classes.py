"""Metrics of class labels, one or several an image, over batches and over the workers of a process group.

Averages are macro: every class counts alike, and a class that occurs neither among labels nor among answers
counts not at all. Scores are kept until the end (4 bytes an image and class), because a ranking metric is
exact only over all of them.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


class _Meter:
    """Scores, answers and targets seen so far."""

    def __init__(self, names: Sequence[str], target_shape: tuple[int, ...]) -> None:
        self.names = tuple(names)
        self._scores = [torch.empty(0, len(self.names))]
        self._targets = [torch.empty((0, *target_shape), dtype=torch.int64)]
        self._answered = [torch.empty((0, *target_shape), dtype=torch.int64)]

    def add(self, scores: Tensor, targets: Tensor, answered: Tensor) -> None:
        """Add (B, C) scores in [0, 1], their targets, and what was answered, in the shape of targets.

        Rows whose target is -1 are passed over.
        """
        labelled = (targets if targets.dim() == 1 else targets[:, 0]) >= 0
        self._scores.append(scores[labelled])
        self._targets.append(targets[labelled])
        self._answered.append(answered[labelled])

    def _joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return all scores, targets and answers, of all workers where a process group exists."""
        joined = torch.cat(self._scores), torch.cat(self._targets), torch.cat(self._answered)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            from torchmetrics.utilities.distributed import gather_all_tensors

            scores, targets, answered = (torch.cat(gather_all_tensors(one)) for one in joined)
            return scores, targets, answered
        return joined


class ClassMeter(_Meter):
    """Exactly one class an image: (B, C) probabilities, and (B,) class indices."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, ())

    def compute(self) -> dict[str, float]:
        """Return metric name -> value in [0, 1]; empty when no image had a label."""
        scores, targets, answered = self._joined()
        if not len(targets):
            return {}
        published = _torchmetrics()
        classes: dict[str, Any] = {"num_classes": len(self.names), "validate_args": False}
        hot = torch.nn.functional.one_hot(targets, len(self.names))
        return {
            "accuracy": float(published.multiclass_accuracy(answered, targets, average="micro", **classes)),
            "precision_macro": float(published.multiclass_precision(answered, targets, average="macro", **classes)),
            "recall_macro": float(published.multiclass_recall(answered, targets, average="macro", **classes)),
            "f1_macro": float(published.multiclass_f1_score(answered, targets, average="macro", **classes)),
            **_mean_over_classes("auroc_macro", published.binary_auroc, scores, hot),
            **_knows_when_right(scores, targets, answered),
        }

    def curves(self) -> tuple[Tensor, Tensor]:
        """Return (N, C) scores and (N, C) whether each is of the true class, of all workers."""
        scores, targets, _ = self._joined()
        return scores, torch.nn.functional.one_hot(targets, len(self.names))

    def confusion(self) -> list[list[int]]:
        """Return (C, C) counts: true class by row, answered class by column."""
        _, targets, answered = self._joined()
        table = _torchmetrics().multiclass_confusion_matrix(answered, targets, len(self.names), validate_args=False)
        rows: list[list[int]] = table.tolist()
        return rows


class LabelSetMeter(_Meter):
    """Any number of classes an image: (B, C) probabilities against (B, C) zeros and ones."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, (len(names),))

    def compute(self) -> dict[str, float]:
        """Return metric name -> value in [0, 1]; empty when no image had a label."""
        scores, targets, answered = self._joined()
        if not len(targets):
            return {}
        exact_match = _torchmetrics().multilabel_exact_match
        return {
            "exact_match": float(exact_match(answered, targets, len(self.names), validate_args=False)),
            **_set_metrics(answered, targets),
            **_mean_over_classes("auroc_macro", _torchmetrics().binary_auroc, scores, targets),
            **_mean_over_classes("average_precision_macro", _torchmetrics().binary_average_precision, scores, targets),
        }

    def curves(self) -> tuple[Tensor, Tensor]:
        """Return (N, C) scores and (N, C) zeros and ones, of all workers."""
        scores, targets, _ = self._joined()
        return scores, targets

    def confusion(self) -> None:
        """Return None: sets of classes have no single confusion matrix."""
        return


def _knows_when_right(scores: Tensor, targets: Tensor, answered: Tensor) -> dict[str, float]:
    """Return how well the answers' own probabilities tell right answers from wrong ones: 0.5 is not at all.

    Nothing where all answers are right, or all wrong. Source: Hendrycks and Gimpel 2017, arXiv:1610.02136.
    """
    sure = scores.gather(1, answered[:, None]).squeeze(1)
    right = (answered == targets).int()
    if not 0 < int(right.sum()) < len(right):
        return {}
    return {"auroc_right": float(_torchmetrics().binary_auroc(sure, right))}


def _set_metrics(answered: Tensor, targets: Tensor) -> dict[str, float]:
    """Return macro precision, recall and F1 over the classes that are among labels or answers."""
    published = _torchmetrics()
    metrics = {
        "precision_macro": published.multilabel_precision,
        "recall_macro": published.multilabel_recall,
        "f1_macro": published.multilabel_f1_score,
    }
    occurs = (answered.sum(dim=0) + targets.sum(dim=0)) > 0
    if not occurs.any():
        return dict.fromkeys(metrics, 0.0)
    kept: dict[str, Any] = {"num_labels": int(occurs.sum()), "average": "macro", "validate_args": False}
    return {name: float(metric(answered[:, occurs], targets[:, occurs], **kept)) for name, metric in metrics.items()}


def _mean_over_classes(
    name: str, metric: Callable[[Tensor, Tensor], Tensor], scores: Tensor, hot: Tensor
) -> dict[str, float]:
    """Return the mean of a ranking metric over the classes that have both members and non-members."""
    ranked = [place for place in range(hot.shape[1]) if 0 < int(hot[:, place].sum()) < len(hot)]
    if not ranked:
        return {}
    values = [float(metric(scores[:, place], hot[:, place])) for place in ranked]
    return {name: sum(values) / len(values)}


def _torchmetrics() -> ModuleType:
    """Return torchmetrics' functions: they take seconds to import, which only a process that scores should spend."""
    from torchmetrics.functional import classification

    found: ModuleType = classification
    return found
