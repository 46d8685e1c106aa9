"""Every task keeps the contract: it learns, a missing label costs nothing, and its answers survive storage."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thaw import bundle, catalog, predictor
from thaw.backbones.contract import Features
from thaw.config import load as config
from thaw.config.experiment import Experiment, TaskOptions
from thaw.data import mix
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.data.placement import Placement
from thaw.data.preprocess import Preprocess
from thaw.metrics import summary
from thaw.tasks.contract import HeadInputs, Task

KINDS: dict[str, dict[str, Any]] = {
    "classification": {"type": "classification"},
    "classification-focal": {"type": "classification", "focal_gamma": 2.0, "label_smoothing": 0.01},
    "multilabel": {"type": "multilabel"},
    "multilabel-focal": {"type": "multilabel", "focal_gamma": 2.0, "label_smoothing": 0.01},
    "segmentation": {"type": "segmentation", "channels": 16},
    "detection": {"type": "detection", "width": 32, "convs": 1},
    "detection-twice": {"type": "detection", "detector": "faster_rcnn", "width": 64, "proposals": 30},
}
"""Every task once, and those that can be done in two ways twice; small enough to learn in a second."""
CLASSES = ("ant", "bee", "cat")
SEEDS = range(6)
SIZE = 48
STRIDES = (4.0, 8.0, 16.0, 32.0)
INPUTS = HeadInputs(num_features=16, dropout=0.0, num_channels=16, strides=STRIDES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_no_task_is_left_out() -> None:
    assert {options["type"] for options in KINDS.values()} == set(catalog.names("tasks"))


def _options(name: str, **more: Any) -> TaskOptions:
    chosen: TaskOptions = catalog.part("tasks", KINDS[name]["type"]).Options(**KINDS[name] | more)
    return chosen


def _task(name: str, **more: Any) -> Task:
    options = _options(name, **more)
    labels = LabelSchema(kind=options.annotation, names=CLASSES)
    return bundle.build_tasks({"kind": options}, {"kind": labels})["kind"]


def _head(task: Task, dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    return task.build_head(HeadInputs(INPUTS.num_features, dropout, INPUTS.num_channels, STRIDES))


def _features(images: int, seed: int = 0) -> Features:
    random = torch.Generator().manual_seed(100 + seed)
    counts = [math.ceil(SIZE / stride) for stride in STRIDES]
    maps = tuple(torch.randn(images, INPUTS.num_channels, count, count, generator=random) for count in counts)
    return Features(torch.randn(images, INPUTS.num_features, generator=random), SIZE, maps)


def _boxes(random: np.random.Generator) -> Boxes:
    """Return one or two boxes that do not overlap: one on the left, one on the right."""
    corner = random.uniform(0, 8, (2, 2)) + np.array([[0, 0], [24, 0]])
    sides = np.stack([random.uniform(8, 14, 2), random.uniform(10, 36, 2)], axis=1)
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    count = int(random.integers(1, 3))
    return Boxes(boxes[:count], random.integers(0, 3, count))


def _annotation(task: Task, random: np.random.Generator) -> Annotation:
    """Return a random label of the task's kind."""
    match task.labels.kind:
        case "class":
            return int(random.integers(3))
        case "classes":
            return tuple(np.flatnonzero(random.random(3) < 0.5).tolist())
        case "boxes":
            return _boxes(random)
    mask: np.ndarray[Any, Any] = random.integers(0, 3, (SIZE // 16, SIZE // 16)).astype(np.uint8)
    return mask.repeat(16, axis=0).repeat(16, axis=1)


def _annotations(task: Task, images: int, missing: tuple[int, ...] = (), seed: int = 0) -> list[Annotation]:
    """Return random labels, and none where ``missing``."""
    random = np.random.default_rng(seed)
    drawn = [_annotation(task, random) for _ in range(images)]
    return [None if row in missing else one for row, one in enumerate(drawn)]


def _targets(task: Task, images: int, missing: tuple[int, ...] = (), seed: int = 0) -> Tensor:
    """Return targets as the feed gives them."""
    return torch.as_tensor(task.labels.targets(_annotations(task, images, missing, seed), SIZE))


def _outputs(task: Task, images: int, seed: int = 0) -> Any:
    """Return outputs as a head gives them, far enough from those of a new one to be of every kind."""
    head = _head(task)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.15, generator=torch.Generator().manual_seed(seed))
    return _each(head(_features(images, seed)), lambda value: value.detach())


def _each(outputs: Any, change: Any) -> Any:
    """Return outputs with every tensor changed; they are one tensor, or several by name."""
    if isinstance(outputs, Tensor):
        return change(outputs)
    return {name: change(value) for name, value in outputs.items()}


def _tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs.values())


PLACED = [Placement.unchanged(SIZE)]


@pytest.mark.parametrize("name", KINDS)
def test_a_head_learns_eight_samples_by_heart(name: str) -> None:
    task = _task(name)
    head, features, annotations = _head(task), _features(8), _annotations(task, 8, seed=3)
    targets = torch.as_tensor(task.labels.targets(annotations, SIZE))
    learning = torch.optim.Adam(head.parameters(), lr=0.01 if task.finest else 0.1)
    losses = []
    for _ in range(150):
        learning.zero_grad()
        total, count = task.loss(head(features, targets), targets)
        (total / count).backward()
        learning.step()
        losses.append(float(total.detach() / count))
    assert losses[-1] < (losses[0] / 4 if task.finest else 0.02)
    meter = task.meter()
    meter.update(task.decode(head.eval()(features), PLACED * 8), annotations)
    assert meter.compute()[task.best_metric] > (0.99 if task.finest else 0.9999)


@pytest.mark.parametrize("name", KINDS)
def test_a_head_drops_features_in_training_alone(name: str) -> None:
    head, features = _head(_task(name), dropout=0.5), _features(4)
    assert not all(map(torch.equal, _tensors(head(features)), _tensors(head(features))))
    head.eval()
    assert all(map(torch.equal, _tensors(head(features)), _tensors(head(features))))


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_fp32_and_one_an_image_even_where_the_model_computes_in_bf16(name: str) -> None:
    task = _task(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = _head(task)(_features(3), _targets(task, 3))
    assert all(value.dtype == torch.float32 and len(value) == 3 for value in _tensors(outputs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_a_sum_over_labelled_images_with_their_number(name: str, seed: int) -> None:
    task = _task(name)
    outputs, targets = _outputs(task, 7, seed), _targets(task, 7, missing=(1, 4), seed=seed)
    total, count = task.loss(outputs, targets)
    rows = (slice(row, row + 1) for row in (0, 2, 3, 5, 6))
    single = [task.loss(_each(outputs, lambda value, row=row: value[row]), targets[row])[0] for row in rows]
    assert total.shape == count.shape == ()
    assert int(count) == 5
    assert torch.allclose(total, torch.stack(single).sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KINDS)
def test_what_is_answered_where_a_label_is_missing_changes_nothing(name: str, seed: int) -> None:
    task, missing = _task(name), [0, 3, 5]
    targets, given = _targets(task, 8, tuple(missing), seed), _outputs(task, 8, seed)
    found = []
    for other in (0.0, 50.0, -1e4):
        outputs = _each(given, lambda value: value.clone())
        for value in _tensors(outputs):
            value[missing] += other
            value.requires_grad_()
        total, count = task.loss(outputs, targets)
        total.backward()
        found.append((total.detach(), count, [value.grad for value in _tensors(outputs) if value.grad is not None]))
    for total, count, gradients in found:
        assert torch.equal(total, found[0][0])
        assert int(count) == 5
        assert all(map(torch.equal, gradients, found[0][2]))
        assert not any(gradient[missing].any() for gradient in gradients)
        assert any(gradient[1].any() for gradient in gradients)


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_without_labels_has_a_gradient_and_it_is_zero(name: str) -> None:
    task = _task(name)
    head, targets = _head(task), _targets(task, 3, missing=(0, 1, 2))
    total, count = task.loss(head(_features(3), targets), targets)
    total.backward()
    assert float(total.detach()) == 0.0
    assert int(count) == 0
    for weight in head.parameters():
        assert weight.grad is not None
        assert not weight.grad.any()


@pytest.mark.parametrize("name", KINDS)
def test_every_weight_has_a_gradient_wherever_there_is_a_label(name: str) -> None:
    task = _task(name)
    head, targets = _head(task), _targets(task, 3, missing=(0, 2))
    task.loss(head(_features(3), targets), targets)[0].backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in head.parameters())


@pytest.mark.parametrize("name", [name for name in KINDS if "detection" in name])
def test_an_image_labelled_with_no_box_is_labelled(name: str) -> None:
    task = _task(name)
    nothing = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    targets = torch.as_tensor(task.labels.targets([nothing, None], SIZE))
    outputs = _outputs(task, 2)
    for value in _tensors(outputs):
        value.requires_grad_()
    total, count = task.loss(outputs, targets)
    total.backward()
    assert int(count) == 1
    assert float(total.detach()) > 0
    assert any(value.grad is not None and value.grad[0].any() for value in _tensors(outputs))


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_batch_costs_nothing_and_gets_no_answer(name: str) -> None:
    task = _task(name)
    outputs = _each(_outputs(task, 3), lambda value: value[:0])
    total, count = task.loss(outputs, _targets(task, 3)[:0])
    assert (float(total), int(count)) == (0.0, 0)
    assert task.decode(outputs, []) == []


@pytest.mark.parametrize("name", KINDS)
def test_answers_survive_json(name: str) -> None:
    task = _task(name)
    answers = task.decode(_outputs(task, 5), PLACED * 5)
    assert len(answers) == 5
    for answer in answers:
        assert isinstance(answer, task.answer_type)
        assert task.answer_type.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize("name", KINDS)
def test_answers_are_tensors_too_as_the_task_says(name: str) -> None:
    task, answers = _task(name), _several(name)
    tensors, facts = task.tensors(answers), task.tensor_facts()
    assert tensors.keys() == facts.keys()
    for key, values in tensors.items():
        assert values.dtype == {"FP32": np.float32, "INT64": np.int64}[facts[key].datatype]
        assert values.shape[0] == len(answers)
        assert len(values.shape) == len(facts[key].shape) + 1
        assert all(size in (-1, there) for size, there in zip(facts[key].shape, values.shape[1:], strict=True))
        for row, answer in zip(values, answers, strict=True):
            one = task.tensors([answer])[key][0]
            assert np.array_equal(row[: len(one)] if one.ndim else row, one)


def test_tensors_say_what_answers_say() -> None:
    one, found = (_several("classification"), _task("classification").tensors(_several("classification")))
    assert [CLASSES[place] for place in found["label"]] == [answer.label for answer in one]
    one, found = (_several("multilabel"), _task("multilabel").tensors(_several("multilabel")))
    named = [tuple(CLASSES[place] for place in np.flatnonzero(row)) for row in found["labels"]]
    assert named == [answer.labels for answer in one]
    one, found = (_several("detection"), _task("detection").tensors(_several("detection")))
    assert found["count"].tolist() == [len(answer.boxes) for answer in one]
    for row, answer in enumerate(one):
        count = len(answer.boxes)
        assert [CLASSES[place] for place in found["labels"][row, :count]] == [box.label for box in answer.boxes]
        assert (found["labels"][row, count:] == -1).all()
        assert np.allclose(found["scores"][row, :count], [box.score for box in answer.boxes])
    one, found = (_several("segmentation"), _task("segmentation").tensors(_several("segmentation")))
    for runs, answer in zip(found["runs"], one, strict=True):
        mask = np.repeat(runs[:, 0], runs[:, 1]).reshape(answer.size)
        assert np.array_equal(np.where(mask == -1, 255, mask), answer.as_mask(CLASSES))


def _several(name: str) -> list[Any]:
    """Return answers to images of four sizes, of which parts were not seen."""
    task = _task(name)
    places = [Preprocess(size=SIZE, fit="crop").place(SIZE, SIZE + 8 * row) for row in range(4)]
    return task.decode(_outputs(task, 4), places)


@pytest.mark.parametrize("name", [name for name in KINDS if "class" in name or "label" in name])
def test_answers_score_every_class_in_the_order_of_the_labels(name: str) -> None:
    task = _task(name)
    for answer in task.decode(_outputs(task, 5), PLACED * 5):
        assert tuple(answer.model_dump()["scores"]) == CLASSES
        assert all(0 <= score <= 1 for score in answer.model_dump()["scores"].values())


@pytest.mark.parametrize("name", KINDS)
def test_a_metric_says_how_good_a_head_is_and_exists_wherever_there_are_labels(name: str) -> None:
    task = _task(name)
    meter = task.meter()
    meter.update(task.decode(_outputs(task, 6), PLACED * 6), _annotations(task, 6, missing=(2,)))
    assert 0 <= meter.compute()[task.best_metric] <= 1


@pytest.mark.parametrize("name", KINDS)
def test_a_task_names_every_metric_that_is_of_it_as_a_whole(name: str) -> None:
    task = _task(name)
    meter = task.meter()
    meter.update(task.decode(_outputs(task, 6), PLACED * 6), _annotations(task, 6, missing=(2,)))
    assert set(summary.overall(meter.compute())) <= set(task.metrics)
    assert {task.best_metric, *task.lower} <= set(task.metrics)


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_comes_to_what_the_meter_says(name: str) -> None:
    task = _task(name)
    answers, annotations = task.decode(_outputs(task, 6), PLACED * 6), _annotations(task, 6)
    meter = task.meter()
    meter.update(answers, annotations)
    sample = task.sample(answers, annotations)
    found = {key: value for key, [value] in sample.metrics(np.ones((1, 6))).items() if not np.isnan(value)}
    assert found == pytest.approx(summary.overall(meter.compute()), abs=1e-6)
    assert len(sample.goodness()) == len(sample) == 6
    assert ((sample.goodness() >= 0) & (sample.goodness() <= 1)).all()


@pytest.mark.parametrize("name", KINDS)
def test_without_a_labelled_image_there_is_no_metric(name: str) -> None:
    task = _task(name)
    meter = task.meter()
    meter.update(task.decode(_outputs(task, 2), PLACED * 2), [None, None])
    assert meter.compute() == {}


def _scores(images: int) -> Tensor:
    return 3 * torch.randn(images, len(CLASSES), generator=torch.Generator().manual_seed(100))


def test_classification_is_softmax_with_cross_entropy() -> None:
    task = _task("classification")
    outputs, targets = _scores(5), torch.tensor([0, 1, 2, 1, -1])
    shares = outputs.double().exp() / outputs.double().exp().sum(dim=1, keepdim=True)
    total, _ = task.loss(outputs, targets)
    assert float(total) == pytest.approx(float(-sum(shares[row, targets[row]].log() for row in range(4))), rel=1e-5)
    for answer, row in zip(task.decode(outputs, PLACED * 5), shares.tolist(), strict=True):
        assert list(answer.scores.values()) == pytest.approx(row, abs=1e-6)
        assert answer.label == CLASSES[row.index(max(row))]
        assert answer.score == answer.scores[answer.label]
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)


def test_label_smoothing_spreads_its_share_of_the_target_evenly() -> None:
    outputs, targets = _scores(4), torch.tensor([0, 2, -1, 1])
    total, count = _task("classification", label_smoothing=0.3).loss(outputs, targets)
    log = torch.log_softmax(outputs.double(), dim=1)
    wanted = sum(-0.7 * log[row, targets[row]] - 0.1 * log[row].sum() for row in (0, 1, 3))
    assert float(total) == pytest.approx(float(wanted), rel=1e-5)
    assert int(count) == 3


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("mixed", [False, True])
def test_focal_loss_plays_down_what_is_answered_well(gamma: float, smoothing: float, mixed: bool) -> None:
    outputs, targets = _scores(4), torch.tensor([0, 2, -1, 1])
    shares = torch.eye(3)[targets.clamp(min=0)]
    if mixed:
        shares = 0.7 * shares + 0.3 * shares.roll(1, dims=1)
    given = torch.where(targets[:, None] < 0, -1.0, shares) if mixed else targets
    options = {"focal_gamma": gamma, "label_smoothing": smoothing}
    total, count = _task("classification", **options).loss(outputs, given)
    chance = torch.softmax(outputs.double(), dim=1)
    smooth = shares * (1 - smoothing) + smoothing / 3
    wanted = -(smooth * (1 - chance) ** gamma * chance.log()).sum(dim=1)[[0, 1, 3]].sum()
    assert (float(total), int(count)) == (pytest.approx(float(wanted), rel=1e-5), 3)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("mixed", [False, True])
def test_focal_loss_of_label_sets_plays_down_each_class_on_its_own(gamma: float, smoothing: float, mixed: bool) -> None:
    outputs, targets = _scores(5), _targets(_task("multilabel"), 5, missing=(2,))
    given = torch.where(targets < 0, -1.0, 0.7 * targets + 0.3 * targets.roll(1, dims=1)) if mixed else targets
    options = {"focal_gamma": gamma, "label_smoothing": smoothing}
    total, count = _task("multilabel", **options).loss(outputs, given)
    chance = torch.sigmoid(outputs.double())
    smooth = given * (1 - smoothing) + smoothing / 2
    each = -smooth * (1 - chance) ** gamma * chance.log() - (1 - smooth) * chance**gamma * (1 - chance).log()
    assert (float(total), int(count)) == (pytest.approx(float(each.mean(dim=1)[[0, 1, 3, 4]].sum()), rel=1e-5), 4)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("name", ["classification", "multilabel"])
def test_focal_loss_and_its_gradient_are_finite_however_sure_the_head_is(name: str, gamma: float) -> None:
    task = _task(name, focal_gamma=gamma)
    for size in (0.0, 20.0, 1e4):
        outputs = (size * torch.eye(3)).requires_grad_()
        total, _ = task.loss(outputs, _targets(task, 3, seed=1))
        total.backward()
        assert total.isfinite()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["classification", "multilabel"])
def test_focal_loss_of_gamma_zero_is_cross_entropy_and_a_little_gamma_is_near_it(name: str, seed: int) -> None:
    plain, off, near = _task(name), _task(name, focal_gamma=0.0), _task(name, focal_gamma=1e-5)
    outputs, targets = _outputs(plain, 6, seed), _targets(plain, 6, missing=(2,), seed=seed)
    assert torch.equal(plain.loss(outputs, targets)[0], off.loss(outputs, targets)[0])
    assert torch.allclose(plain.loss(outputs, targets)[0], near.loss(outputs, targets)[0], rtol=1e-3)


def test_multilabel_is_a_sigmoid_a_class_averaged_over_classes() -> None:
    task = _task("multilabel", threshold=0.3)
    outputs, targets = _scores(5), _targets(_task("multilabel"), 5, missing=(2,))
    each = 1 / (1 + (-outputs.double()).exp())
    costs = -(targets * each.log() + (1 - targets) * (1 - each).log()).mean(dim=1)
    total, _ = task.loss(outputs, targets)
    assert float(total) == pytest.approx(float(costs[[0, 1, 3, 4]].sum()), rel=1e-5)
    for answer, row in zip(task.decode(outputs, PLACED * 5), each.tolist(), strict=True):
        assert list(answer.scores.values()) == pytest.approx(row, abs=1e-6)
        assert answer.labels == tuple(name for name, score in zip(CLASSES, row, strict=True) if score >= 0.3)


def _experiment() -> Experiment:
    values = {
        "name": "all-tasks",
        "data": {"source": {"type": "boards"}, "image": {"size": 40}},
        "tasks": KINDS,
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}, "pyramid": 16},
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
    assert all(set(one) == set(KINDS) for one in answers)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in KINDS if "class" in name or "label" in name])
def test_targets_of_mixtures_that_mix_nothing_cost_what_plain_ones_do(name: str, seed: int) -> None:
    task, random = _task(name), np.random.default_rng(seed)
    labels = task.labels
    found: list[Any] = [int(one) if labels.kind == "class" else (int(one),) for one in random.integers(0, 3, 6)]
    found[1] = found[4] = None
    plain = labels.targets(found, 0)
    mixed = mix.blended_targets(labels.kind, 3, plain, plain, [0.3] * 6)
    outputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    (one, count), (other, others) = (task.loss(outputs, torch.as_tensor(given)) for given in (plain, mixed))
    assert torch.allclose(one, other, atol=1e-5)
    assert int(count) == int(others) == 4
    [gradient] = torch.autograd.grad(other, outputs)
    assert not gradient[[1, 4]].any()


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.parametrize("name", ["detection", "segmentation"])
def test_a_single_image_of_a_single_place_is_answered(name: str, width: int) -> None:
    wide = {"width": width, "convs": 1} if name == "detection" else {"channels": width}
    task = _task(name, **wide)
    maps = [torch.randn(1, 8, side, side) for side in (8, 4, 2, 1)]
    head = task.build_head(HeadInputs(8, 0.0, 8, (4, 8, 16, 32))).train()
    assert len(task.decode(head(Features(torch.randn(1, 8), 32, maps), None), [Placement.unchanged(32)])) == 1
