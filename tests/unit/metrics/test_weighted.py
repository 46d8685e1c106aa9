"""Weighted metrics are what the meters say of images that are there as often as they count."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from thaw.metrics import classes
from thaw.metrics.boxes import BoxMeter, ImageBoxes
from thaw.metrics.masks import IGNORED, MaskMeter
from thaw.metrics.weighted.boxes import BoxSample
from thaw.metrics.weighted.classes import ClassSample, SetSample, f1_macro
from thaw.metrics.weighted.masks import MaskSample

NAMES = ("ant", "bee", "cat", "dog")
SEEDS = range(6)
Made = tuple[Any, Callable[[list[int]], dict[str, float]]]


def _classes(random: np.random.Generator) -> Made:
    """Return a sample in which dog is never there, and rarely answered; scores are rounded so that ties occur."""
    scores = random.dirichlet(np.ones(4) / 2, 40).round(1)
    targets = random.integers(0, 3, 40)

    def meter(places: list[int]) -> dict[str, float]:
        found = classes.ClassMeter(NAMES)
        given = torch.tensor(scores[places])
        found.add(given, torch.tensor(targets[places]), given.argmax(dim=1))
        return found.compute()

    return ClassSample(NAMES, scores, targets, scores.argmax(axis=1), np.zeros(40, dtype=bool)), meter


def _sets(random: np.random.Generator) -> Made:
    scores, targets = random.random((40, 4)).round(1), random.random((40, 4)) < [0.5, 0.3, 0.1, 0.0]

    def meter(places: list[int]) -> dict[str, float]:
        found, given = classes.LabelSetMeter(NAMES), torch.tensor(scores[places])
        found.add(given, torch.tensor(targets[places].astype(int)), (given >= 0.5).long())
        return found.compute()

    return SetSample(NAMES, scores, targets, scores >= 0.5), meter


def _masks(random: np.random.Generator) -> Made:
    pairs = [(random.integers(0, 4, (5, 6)), random.integers(0, 3, (5, 6))) for _ in range(20)]
    for answered, truth in pairs:
        answered[0], truth[random.random(truth.shape) < 0.2] = IGNORED, IGNORED

    def meter(places: list[int]) -> dict[str, float]:
        found = MaskMeter(NAMES)
        for place in places:
            found.add(*(one.astype(np.uint8) for one in pairs[place]))
        return found.compute()

    tables = []
    for answered, truth in pairs:
        found = MaskMeter(NAMES)
        found.add(answered.astype(np.uint8), truth.astype(np.uint8))
        tables.append(found.table.numpy())
    return MaskSample(NAMES, np.stack(tables)), meter


def _boxes(random: np.random.Generator) -> Made:
    """Return a sample in which scores are distinct, for of equals the order of images decides."""
    images = []
    for true, false in [(5, 4), (0, 3), (4, 0), (0, 0), (8, 20), (30, 150), (1, 1), (12, 6), (3, 5), (2, 9)]:
        corner = random.uniform(0, 150, (true, 2))
        truth = np.concatenate([corner, corner + random.uniform(4, 90, (true, 2))], axis=1)
        labels = random.integers(0, 3, true)
        near = truth + random.normal(0, 3, truth.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        corner = random.uniform(0, 150, (false, 2))
        guess = np.concatenate([corner, corner + random.uniform(4, 90, (false, 2))], axis=1)
        found = ImageBoxes(
            np.concatenate([near, guess]),
            np.concatenate([np.where(random.random(true) < 0.1, 3, labels), random.integers(0, 4, false)]),
            random.random(true + false),
        )
        images.append((found, ImageBoxes(truth, labels, np.ones(true))))

    def meter(places: list[int]) -> dict[str, float]:
        found = BoxMeter(NAMES, [0.5] * 4, 20)
        for place in places:
            found.add(*images[place])
        return found.compute()

    return BoxSample(NAMES, images, np.full(4, 0.5), 20), meter


MADE = {"classes": _classes, "sets": _sets, "masks": _masks, "boxes": _boxes}


def _same(found: dict[str, Any], told: dict[str, float]) -> None:
    whole = {name: value for name, value in told.items() if not name.startswith(("iou_", "ap50_"))}
    assert {name for name, [value] in found.items() if not np.isnan(value)} == set(whole)
    for name, value in whole.items():
        assert found[name][0] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_once_is_what_the_meter_says(kind, seed):
    sample, meter = MADE[kind](np.random.default_rng(seed))
    _same(sample.metrics(np.ones((1, len(sample)))), meter(list(range(len(sample)))))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_image_that_counts_twice_is_one_that_is_there_twice(kind, seed):
    random = np.random.default_rng(seed)
    sample, meter = MADE[kind](random)
    times = random.integers(0, 3, len(sample))
    _same(sample.metrics(times[None].astype(float)), meter(np.repeat(np.arange(len(sample)), times).tolist()))


@pytest.mark.parametrize("kind", MADE)
def test_each_weighting_stands_by_itself(kind):
    random = np.random.default_rng(1)
    sample, _ = MADE[kind](random)
    weights = random.integers(0, 3, (150, len(sample))).astype(float)
    together = sample.metrics(weights)
    for row in (0, 70, 149):
        alone = sample.metrics(weights[row : row + 1])
        for name, values in together.items():
            np.testing.assert_allclose(values[row], alone[name][0], equal_nan=True)


def test_f1_by_itself_is_that_of_the_sample_and_nothing_where_no_class_occurs():
    sample, _ = _sets(np.random.default_rng(2))
    weights = np.random.default_rng(3).integers(0, 3, (5, len(sample))).astype(float)
    assert f1_macro(weights, sample.answered, sample.targets) == pytest.approx(sample.metrics(weights)["f1_macro"])
    nothing = np.zeros((len(sample), 4), dtype=bool)
    assert f1_macro(weights, nothing, nothing).tolist() == [0] * 5


def test_figures_of_a_class_are_those_of_the_meters():
    sample, meter = _boxes(np.random.default_rng(3))
    found, told = sample.by_class(np.ones((1, len(sample)))), meter(list(range(len(sample))))
    assert {f"ap50_{name}" for name in found} == {name for name in told if name.startswith("ap50_")}
    for name, values in found.items():
        assert values["ap50"][0] == pytest.approx(told[f"ap50_{name}"], abs=1e-6)
    sample, meter = _masks(np.random.default_rng(3))
    found, told = sample.by_class(np.ones((1, len(sample)))), meter(list(range(len(sample))))
    assert {f"iou_{name}": values["iou"][0] for name, values in found.items()} == pytest.approx(
        {name: value for name, value in told.items() if name.startswith("iou_")}
    )


def test_precision_and_recall_of_a_class():
    scores = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0]])
    sample = ClassSample(("a", "b", "c"), scores, np.array([0, 1, 1]), scores.argmax(axis=1), np.zeros(3, dtype=bool))
    found = sample.by_class(np.array([[1.0, 1.0, 1.0], [1.0, 3.0, 1.0]]))
    assert set(found) == {"a", "b"}
    np.testing.assert_allclose(found["a"]["precision"], [1 / 2, 1 / 4])
    np.testing.assert_allclose(found["b"]["recall"], [1 / 2, 1 / 4])


def test_boxes_that_nobody_has_are_worth_nothing():
    nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    sample = BoxSample(NAMES, [(nothing, nothing)] * 3, np.full(4, 0.5), 100)
    found = sample.metrics(np.ones((2, 3)))
    assert found["map50"].tolist() == [0, 0]
    assert sample.by_class(np.ones((2, 3))) == {}


@pytest.mark.parametrize("kind", MADE)
def test_some_rows_are_the_images_that_count_while_others_do_not(kind):
    sample, _ = MADE[kind](np.random.default_rng(2))
    rows = np.arange(0, len(sample), 3)
    weights = np.isin(np.arange(len(sample)), rows).astype(float)[None]
    some = sample.at(rows)
    assert len(some) == len(rows)
    for name, [value] in some.metrics(np.ones((1, len(rows)))).items():
        assert value == pytest.approx(sample.metrics(weights)[name][0], nan_ok=True), name


@pytest.mark.parametrize("kind", MADE)
def test_losses_are_highest_where_answers_are_farthest_from_the_truth(kind):
    sample, _ = MADE[kind](np.random.default_rng(2))
    losses, good = sample.losses(), sample.goodness()
    assert losses.shape == (len(sample),)
    assert losses.min() >= 0
    assert losses[good == good.max()].mean() < losses[good == good.min()].mean()


@pytest.mark.parametrize("kind", ["classes", "sets"])
def test_the_mean_of_losses_is_how_surprising_the_truth_is(kind):
    sample, _ = MADE[kind](np.random.default_rng(2))
    assert sample.losses().mean() == pytest.approx(sample.surprise(1.0), rel=1e-3)  # scores are rounded
    assert sample.tempered(0.5).losses().mean() == pytest.approx(sample.surprise(2.0), rel=1e-3)
