"""Every task keeps the contract: it learns, a missing label costs nothing, and its answers survive storage."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from thaw import bundle, catalog, predictor
from thaw.config import load as config
from thaw.config.experiment import Experiment, TaskOptions
from thaw.data.labels import LabelSchema
from thaw.tasks.contract import Task

NAMES = catalog.names("tasks")
CLASSES = ("ant", "bee", "cat")
SEEDS = range(6)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _options(name: str, **more: Any) -> TaskOptions:
    chosen: TaskOptions = catalog.part("tasks", name).Options(type=name, **more)
    return chosen


def _task(name: str, **more: Any) -> Task:
    options = _options(name, **more)
    labels = LabelSchema(kind=options.annotation, names=CLASSES)
    return bundle.build_tasks({"kind": options}, {"kind": labels})["kind"]


def _targets(task: Task, images: int, missing: tuple[int, ...] = (), seed: int = 0) -> Tensor:
    """Return targets as the feed gives them: random labels, and none where ``missing``."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 2, (images, len(CLASSES)), generator=random).tolist()
    found: list[Any] = [
        sum(row) % 3 if task.labels.kind == "class" else tuple(place for place, hot in enumerate(row) if hot)
        for row in drawn
    ]
    return torch.as_tensor(task.labels.targets([None if row in missing else one for row, one in enumerate(found)]))


def _outputs(images: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(images, len(CLASSES), generator=torch.Generator().manual_seed(100 + seed))


@pytest.mark.parametrize("name", NAMES)
def test_a_head_learns_eight_samples_by_heart(name: str) -> None:
    task = _task(name)
    torch.manual_seed(0)
    features, targets = torch.randn(8, 16), _targets(task, 8, seed=3)
    head = task.build_head(16, dropout=0.0)
    learning = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        learning.zero_grad()
        total, count = task.loss(head(features), targets)
        (total / count).backward()
        learning.step()
    assert float(total.detach() / count) < 0.02
    meter = task.meter()
    meter.update(task.decode(head(features)), targets)
    assert meter.compute()[task.best_metric] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_head_drops_features_in_training_alone(name: str) -> None:
    head = _task(name).build_head(16, dropout=0.5)
    features = torch.randn(4, 16)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_a_sum_over_labelled_images_with_their_number(name: str, seed: int) -> None:
    task = _task(name)
    outputs, targets = _outputs(7, seed), _targets(task, 7, missing=(1, 4), seed=seed)
    total, count = task.loss(outputs, targets)
    single = [task.loss(outputs[row : row + 1], targets[row : row + 1]) for row in (0, 2, 3, 5, 6)]
    assert total.shape == count.shape == ()
    assert int(count) == 5
    assert torch.allclose(total, torch.stack([one for one, _ in single]).sum(), atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_answered_where_a_label_is_missing_changes_nothing(name: str, seed: int) -> None:
    task, missing = _task(name), (0, 3, 5)
    targets = _targets(task, 8, missing, seed)
    found = []
    for other in (0.0, 50.0, -1e4):
        outputs = _outputs(8, seed)
        outputs[list(missing)] += other
        outputs.requires_grad_()
        total, count = task.loss(outputs, targets)
        total.backward()
        found.append((total.detach(), count, outputs.grad))
    for total, count, gradient in found:
        assert torch.equal(total, found[0][0])
        assert int(count) == 5
        assert torch.equal(gradient, found[0][2])
        assert not gradient[list(missing)].any()
        assert gradient[1].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_labels_has_a_gradient_and_it_is_zero(name: str) -> None:
    task = _task(name)
    head = task.build_head(4, dropout=0.0)
    total, count = task.loss(head(torch.randn(3, 4)), _targets(task, 3, missing=(0, 1, 2)))
    total.backward()
    assert float(total.detach()) == 0.0
    assert int(count) == 0
    for weight in head.parameters():
        assert weight.grad is not None
        assert not weight.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_costs_nothing_and_gets_no_answer(name: str) -> None:
    task = _task(name)
    total, count = task.loss(_outputs(0), _targets(task, 3)[:0])
    assert (float(total), int(count)) == (0.0, 0)
    assert task.decode(_outputs(0)) == []


@pytest.mark.parametrize("name", NAMES)
def test_answers_survive_json_and_score_every_class_in_the_order_of_the_labels(name: str) -> None:
    task = _task(name)
    for answer in task.decode(_outputs(5)):
        assert isinstance(answer, task.answer_type)
        assert task.answer_type.model_validate_json(answer.model_dump_json()) == answer
        assert tuple(answer.model_dump()["scores"]) == CLASSES
        assert all(0 <= score <= 1 for score in answer.model_dump()["scores"].values())


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_says_how_good_a_head_is_and_exists_wherever_there_are_labels(name: str) -> None:
    task = _task(name)
    meter = task.meter()
    meter.update(task.decode(_outputs(6)), _targets(task, 6))
    assert 0 <= meter.compute()[task.best_metric] <= 1


def test_classification_is_softmax_with_cross_entropy() -> None:
    task = _task("classification")
    outputs, targets = _outputs(5), torch.tensor([0, 1, 2, 1, -1])
    shares = outputs.double().exp() / outputs.double().exp().sum(dim=1, keepdim=True)
    total, _ = task.loss(outputs, targets)
    assert float(total) == pytest.approx(float(-sum(shares[row, targets[row]].log() for row in range(4))), rel=1e-5)
    for answer, row in zip(task.decode(outputs), shares.tolist(), strict=True):
        assert list(answer.scores.values()) == pytest.approx(row, abs=1e-6)
        assert answer.label == CLASSES[row.index(max(row))]
        assert answer.score == answer.scores[answer.label]
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)


def test_label_smoothing_spreads_its_share_of_the_target_evenly() -> None:
    outputs, targets = _outputs(4), torch.tensor([0, 2, -1, 1])
    total, count = _task("classification", label_smoothing=0.3).loss(outputs, targets)
    log = torch.log_softmax(outputs.double(), dim=1)
    wanted = sum(-0.7 * log[row, targets[row]] - 0.1 * log[row].sum() for row in (0, 1, 3))
    assert float(total) == pytest.approx(float(wanted), rel=1e-5)
    assert int(count) == 3


def test_multilabel_is_a_sigmoid_a_class_averaged_over_classes() -> None:
    task = _task("multilabel", threshold=0.3)
    outputs, targets = _outputs(5), _targets(_task("multilabel"), 5, missing=(2,))
    each = 1 / (1 + (-outputs.double()).exp())
    costs = -(targets * each.log() + (1 - targets) * (1 - each).log()).mean(dim=1)
    total, _ = task.loss(outputs, targets)
    assert float(total) == pytest.approx(float(costs[[0, 1, 3, 4]].sum()), rel=1e-5)
    for answer, row in zip(task.decode(outputs), each.tolist(), strict=True):
        assert list(answer.scores.values()) == pytest.approx(row, abs=1e-6)
        assert answer.labels == tuple(name for name, score in zip(CLASSES, row, strict=True) if score >= 0.3)


def _experiment() -> Experiment:
    values = {
        "name": "all-tasks",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {name: {"type": name} for name in NAMES},
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
    }
    return config.parse(values, "test")


def test_every_task_gives_identical_answers_after_its_bundle_is_saved_and_loaded(tmp_path: Path) -> None:
    experiment = _experiment()
    labels = {name: LabelSchema(kind=options.annotation, names=CLASSES) for name, options in experiment.tasks.items()}
    made = bundle.create(experiment, labels)
    made.model.eval()
    made.save(tmp_path)
    images = [torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy() for _ in range(3)]
    answers = predictor.answer(bundle.load(tmp_path), images)
    assert answers == predictor.answer(made, images)
    assert all(set(one) == set(NAMES) for one in answers)
