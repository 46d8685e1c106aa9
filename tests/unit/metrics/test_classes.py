"""Metrics are what a few lines of numpy say they are, whatever is absent and however the images arrive."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.metrics.classes import ClassMeter, LabelSetMeter

NAMES = ("a", "b", "c", "d")
SEEDS = range(6)
THRESHOLD = 0.4


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _classes(seed: int, missing: bool = False) -> tuple[Tensor, Tensor]:
    """Return scores and class indices of 60 images; some seeds leave a class out of the labels."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 4 - seed % 3, 60)
    hints = np.eye(4)[targets] * 1.5 + random.normal(size=(60, 4))
    if seed % 2:
        hints[:, 3] -= 99  # never answered either
    if missing:
        targets[random.random(60) < 0.4] = -1
    return torch.softmax(torch.tensor(hints, dtype=torch.float32), dim=1), torch.as_tensor(targets)


def _sets(seed: int, missing: bool = False) -> tuple[Tensor, Tensor]:
    """Return scores and zeros and ones of 60 images; some seeds leave a class out, or give it to every image."""
    random = np.random.default_rng(seed)
    targets = (random.random((60, 4)) < 0.4).astype(np.int64)
    targets[:, 3] = {0: targets[:, 3], 1: 0, 2: 1}[seed % 3]
    scores = np.clip(targets * 0.3 + random.random((60, 4)) * 0.7, 0, 1).round(2)  # rounded: ties count as well
    if seed % 2:
        scores[:, 3] = 0.0
    if missing:
        targets[random.random(60) < 0.4] = -1
    return torch.tensor(scores, dtype=torch.float32), torch.as_tensor(targets)


def _macro(answered: NDArray[Any], hot: NDArray[Any]) -> dict[str, float]:
    """Precision, recall and F1 averaged over the classes that occur among labels or answers."""
    right, said, true = (answered & hot).sum(0), answered.sum(0), hot.sum(0)
    occurs = (said + true) > 0
    each = {
        "precision_macro": right / np.maximum(said, 1),
        "recall_macro": right / np.maximum(true, 1),
        "f1_macro": 2 * right / np.maximum(said + true, 1),
    }
    return {name: float(values[occurs].mean()) for name, values in each.items()}


def _auroc(scores: NDArray[Any], hot: NDArray[Any]) -> float:
    """Share of pairs of a member and a non-member that stand in the right order; a tie is half."""
    members, others = scores[hot == 1][:, None], scores[hot == 0][None, :]
    return float(((members > others) + 0.5 * (members == others)).mean())


def _average_precision(scores: NDArray[Any], hot: NDArray[Any]) -> float:
    """Sum over thresholds of precision times the gain in recall."""
    total, before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        chosen = scores >= threshold
        recall = hot[chosen].sum() / hot.sum()
        total, before = total + hot[chosen].mean() * (recall - before), recall
    return float(total)


def _ranked(metric: Any, scores: NDArray[Any], hot: NDArray[Any]) -> float:
    both = [place for place in range(hot.shape[1]) if 0 < hot[:, place].sum() < len(hot)]
    return float(np.mean([metric(scores[:, place], hot[:, place]) for place in both]))


def _expected_of_classes(scores: Tensor, targets: Tensor) -> dict[str, float]:
    kept = targets.numpy() >= 0
    score, hot = scores.numpy()[kept], np.eye(4, dtype=np.int64)[targets.numpy()[kept]]
    answered = np.eye(4, dtype=np.int64)[score.argmax(1)]
    accuracy = float((score.argmax(1) == hot.argmax(1)).mean())
    right = (score.argmax(1) == hot.argmax(1)).astype(np.int64)
    return {
        "accuracy": accuracy,
        **_macro(answered, hot),
        "auroc_macro": _ranked(_auroc, score, hot),
        "auroc_right": _auroc(score.max(1), right),
    }


def _expected_of_sets(scores: Tensor, targets: Tensor) -> dict[str, float]:
    kept = targets.numpy()[:, 0] >= 0
    score, hot = scores.numpy()[kept], targets.numpy()[kept]
    answered = (score >= np.float32(THRESHOLD)).astype(np.int64)
    return {
        "exact_match": float((answered == hot).all(1).mean()),
        **_macro(answered, hot),
        "auroc_macro": _ranked(_auroc, score, hot),
        "average_precision_macro": _ranked(_average_precision, score, hot),
    }


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_class_metrics_equal_plain_arithmetic(seed: int, missing: bool) -> None:
    scores, targets = _classes(seed, missing)
    meter = ClassMeter(NAMES)
    meter.add(scores, targets, scores.argmax(dim=1))
    assert meter.compute() == pytest.approx(_expected_of_classes(scores, targets), abs=1e-6)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_set_metrics_equal_plain_arithmetic(seed: int, missing: bool) -> None:
    scores, targets = _sets(seed, missing)
    meter = LabelSetMeter(NAMES)
    meter.add(scores, targets, _answered("set", scores))
    assert meter.compute() == pytest.approx(_expected_of_sets(scores, targets), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_confusion_matrix_counts_true_classes_by_row(seed: int) -> None:
    scores, targets = _classes(seed, missing=True)
    meter = ClassMeter(NAMES)
    meter.add(scores, targets, scores.argmax(dim=1))
    counts = [[0] * 4 for _ in range(4)]
    for true, said in zip(targets.tolist(), scores.argmax(dim=1).tolist(), strict=True):
        if true >= 0:
            counts[true][said] += 1
    assert meter.confusion() == counts


def test_sets_have_no_confusion_matrix() -> None:
    assert LabelSetMeter(NAMES).confusion() is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["class", "set"])
def test_batches_of_any_size_come_to_the_same_as_all_at_once(kind: str, seed: int) -> None:
    scores, targets = (_classes if kind == "class" else _sets)(seed, missing=True)
    at_once, in_batches = _meter(kind), _meter(kind)
    answered = _answered(kind, scores)
    at_once.add(scores, targets, answered)
    for start, stop in ((0, 1), (1, 1), (1, 30), (30, 60)):
        in_batches.add(scores[start:stop], targets[start:stop], answered[start:stop])
    assert in_batches.compute() == at_once.compute()
    assert in_batches.confusion() == at_once.confusion()


@pytest.mark.parametrize("kind", ["class", "set"])
def test_without_a_labelled_image_there_are_no_metrics(kind: str) -> None:
    scores, targets = (_classes if kind == "class" else _sets)(0)
    meter = _meter(kind)
    meter.add(scores, torch.full_like(targets, -1), _answered(kind, scores))
    assert meter.compute() == {}


@pytest.mark.parametrize("kind", ["class", "set"])
def test_without_any_image_there_are_no_metrics(kind: str) -> None:
    assert _meter(kind).compute() == {}


@pytest.mark.parametrize("kind", ["class", "set"])
def test_a_ranking_is_left_out_where_no_class_has_members_and_others(kind: str) -> None:
    meter = _meter(kind)
    scores = torch.eye(4)[:1]
    targets = torch.tensor([0]) if kind == "class" else torch.tensor([[1, 1, 0, 0]])
    meter.add(scores, targets, _answered(kind, scores))
    assert not any("auroc" in name or "average_precision" in name for name in meter.compute())


def _answered(kind: str, scores: Tensor) -> Tensor:
    return scores.argmax(dim=1) if kind == "class" else (scores >= THRESHOLD).long()


def _meter(kind: str) -> ClassMeter | LabelSetMeter:
    return ClassMeter(NAMES) if kind == "class" else LabelSetMeter(NAMES)
