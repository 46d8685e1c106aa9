"""The best linear head is the optimum of the task's own loss, whatever the seed, and sees labelled images alone."""

from typing import Any

import numpy as np
import pytest
import torch

from thaw import bundle
from thaw.config.experiment import TaskOptions
from thaw.data.labels import LabelSchema
from thaw.probe import linear
from thaw.probe.embedding import Vectors
from thaw.tasks import classification, detection, multilabel, segmentation
from thaw.tasks.contract import Task

OPTIONS: dict[str, TaskOptions] = {
    "kind": classification.Options(type="classification"),
    "tags": multilabel.Options(type="multilabel"),
    "things": detection.Options(type="detection"),
    "paint": segmentation.Options(type="segmentation"),
}
NAMES = ("a", "b", "c")
LABELS = {
    "kind": LabelSchema(kind="class", names=NAMES),
    "tags": LabelSchema(kind="classes", names=NAMES),
    "things": LabelSchema(kind="boxes", names=NAMES),
    "paint": LabelSchema(kind="mask", names=NAMES),
}


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return bundle.build_tasks(OPTIONS, LABELS)


def _vectors(seed: int, images: int = 120, noise: float = 0.0) -> Vectors:
    """Return images whose classes are linear in their features, but for some noise; features differ widely in scale."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(images, 3))
    mixed = np.concatenate([scores, random.normal(size=(images, 3))], axis=1) @ np.diag([1, 100, 0.01, 1, 30, 1])
    heard = scores + noise * random.normal(size=scores.shape)
    targets = {"kind": heard.argmax(axis=1).astype(np.int64), "tags": (heard > 0.3).astype(np.int64)}
    features = np.concatenate([mixed, np.full((images, 1), 7.0)], axis=1)  # the last one never changes
    return Vectors(features.astype(np.float32), targets)


@pytest.mark.parametrize("name", ["kind", "tags"])
def test_what_is_linear_in_the_features_is_recovered(tasks: dict[str, Task], name: str) -> None:
    task = tasks[name]
    found = linear.best(task, _vectors(0, 400), _vectors(1))
    assert found.metrics[task.best_metric] > 0.95
    assert found.penalty is not None
    assert found.penalty < linear.PENALTIES[0]  # labels without noise want large weights


@pytest.mark.parametrize("penalty", linear.PENALTIES)
@pytest.mark.parametrize("name", ["kind", "tags"])
def test_the_head_is_at_the_optimum(tasks: dict[str, Task], name: str, penalty: float) -> None:
    task, given = tasks[name], _vectors(0, noise=1.0)
    features, targets = given.labelled(task)
    features = (features - features.mean(dim=0)) / features.std(dim=0).clamp(min=1e-6)
    head = linear.new_head(features.shape[1], len(NAMES))
    linear.fit(head, task, features, torch.from_numpy(targets), penalty)
    head.zero_grad()
    linear.objective(head, task, features, torch.from_numpy(targets), penalty).backward()
    slopes = [one.grad for one in head.parameters() if one.grad is not None]
    assert len(slopes) == 2
    assert max(float(one.abs().max()) for one in slopes) < 2e-5


def test_of_two_penalties_the_one_with_the_better_metric_is_taken(tasks: dict[str, Task]) -> None:
    train, val = _vectors(0, 40, noise=2.0), _vectors(1, noise=2.0)
    found = linear.best(tasks["kind"], train, val)
    single = []
    for penalty in linear.PENALTIES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "PENALTIES", (penalty,))
            single.append(linear.best(tasks["kind"], train, val))
    assert found.metrics["accuracy"] == max(one.metrics["accuracy"] for one in single)
    assert len({one.metrics["accuracy"] for one in single}) > 1


@pytest.mark.parametrize("name", ["kind", "tags"])
def test_the_same_images_give_the_same_head(tasks: dict[str, Task], name: str) -> None:
    both = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        both.append(linear.best(tasks[name], _vectors(0, noise=1.0), _vectors(1, noise=1.0)))
    assert both[0] == both[1]


@pytest.mark.parametrize("name", ["kind", "tags"])
def test_images_without_a_label_change_nothing(tasks: dict[str, Task], name: str) -> None:
    train, val = _vectors(0, noise=1.0), _vectors(1, noise=1.0)
    among = [_with_unlabelled(one) for one in (train, val)]
    assert linear.best(tasks[name], *among) == linear.best(tasks[name], train, val)


def _with_unlabelled(given: Vectors) -> Vectors:
    """Return every other image one of a quite different kind that nobody labelled."""
    images = len(given.features)
    features = np.repeat(given.features, 2, axis=0)
    targets: dict[str, Any] = {name: np.repeat(one, 2, axis=0) for name, one in given.targets.items()}
    features[1::2] = 1000 * np.arange(images)[:, None]
    for one in targets.values():
        one[1::2] = -1
    return Vectors(features, targets)


@pytest.mark.parametrize("side", [0, 1])
def test_a_task_without_labels_has_no_figures(tasks: dict[str, Task], side: int) -> None:
    both = [_vectors(0), _vectors(1)]
    nothing = {name: np.full_like(one, -1) for name, one in both[side].targets.items()}
    both[side] = Vectors(both[side].features, nothing)
    assert linear.best(tasks["kind"], *both) == linear.Best({}, None)


def test_only_heads_on_the_pooled_vector_are_linear(tasks: dict[str, Task]) -> None:
    assert [name for name, task in tasks.items() if linear.has_linear_head(task)] == ["kind", "tags"]
