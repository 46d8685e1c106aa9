"""Intervals: what is drawn, and how often they hold the truth."""

import numpy as np
import pytest

from thaw.evaluation import bootstrap
from thaw.metrics.weighted.classes import ClassSample


def _sample(scores: np.ndarray) -> ClassSample:
    """Return images that are all of the first class."""
    answered, nothing = scores.argmax(axis=1), np.zeros(len(scores), dtype=np.int64)
    return ClassSample(("a", "b"), scores, nothing, answered, nothing > 0)


def test_a_draw_has_as_many_images_as_there_are():
    drawn = bootstrap.draws(11, seed=1, count=50)
    assert (drawn.sum(axis=1) == 11).all()
    assert len(np.unique(drawn, axis=0)) > 40
    assert drawn.mean() == 1


def test_draws_are_the_same_for_the_same_seed():
    assert (bootstrap.draws(20, 3) == bootstrap.draws(20, 3)).all()
    assert (bootstrap.draws(20, 3) != bootstrap.draws(20, 4)).any()


def test_an_interval_is_about_as_wide_as_theory_has_it():
    right = np.arange(400) < 300
    scores = np.stack([right, ~right], axis=1) * 0.8 + 0.1
    sample = _sample(scores)
    found = bootstrap.intervals(sample.metrics, bootstrap.draws(len(sample), seed=0))["accuracy"]
    assert found.value == 0.75
    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.004)


def test_a_figure_without_a_value_has_no_interval():
    scores = np.array([[0.9, 0.1], [0.8, 0.2]])
    sample = _sample(scores)
    found = bootstrap.intervals(sample.metrics, bootstrap.draws(len(sample), seed=0))
    assert "accuracy" in found
    assert "auroc_macro" not in found  # there is one class alone
    assert "auroc_right" not in found  # and every answer is right


@pytest.mark.parametrize(("right", "ends"), [(20, (1 - 0.1684, 1.0)), (0, (0.0, 0.1684))])
def test_without_a_mistake_the_interval_is_that_of_so_many_cases(right, ends):
    scores = np.stack([np.arange(20) < right, np.arange(20) >= right], axis=1) * 0.8 + 0.1
    sample = _sample(scores)
    found = bootstrap.intervals(sample.metrics, bootstrap.draws(len(sample), seed=0))["accuracy"]
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)  # R: binom.test(20, 20)


def test_the_interval_of_a_class_is_that_of_its_own_images():
    targets = np.array([0] * 90 + [1] * 10)
    sample = ClassSample(("a", "b"), np.eye(2)[targets] * 0.8 + 0.1, targets, targets, targets < 0)
    found = bootstrap.by_class(sample, bootstrap.draws(len(sample), 0))
    assert found["b"]["recall"].low == pytest.approx(0.025 ** (1 / 10))
    assert found["a"]["recall"].low == pytest.approx(0.025 ** (1 / 90))


def test_a_model_that_differs_from_itself_in_nothing_does_so_for_sure():
    whole = {"accuracy": np.zeros(1)}
    told = bootstrap.told(whole, {}, {"accuracy": np.zeros(50)})["accuracy"]
    assert (told.low, told.high) == (0, 0)


def test_the_precision_of_a_class_is_of_the_images_answered_with_it():
    targets = np.array([0] * 90 + [1] * 10)
    answered = np.where(np.arange(100) < 95, 0, 1)
    sample = ClassSample(("a", "b"), np.eye(2)[answered] * 0.8 + 0.1, targets, answered, targets < 0)
    found = bootstrap.by_class(sample, bootstrap.draws(len(sample), 0))["b"]["precision"]
    assert (found.value, found.low) == (1.0, pytest.approx(0.025 ** (1 / 5)))


def test_what_keeps_the_best_of_a_curve_is_believed_less_than_draws_show():
    drawn = np.random.default_rng(0).normal(0.71, 0.02, 2000)  # half a spread above the figure itself
    told = bootstrap.told(
        *(dict.fromkeys(("map50", "accuracy"), each) for each in (np.full(1, 0.7), np.zeros(0), drawn))
    )
    half, bias = 1.96 * 0.02, 0.01
    assert told["accuracy"].value == told["map50"].value == 0.7
    assert (told["accuracy"].low, told["accuracy"].high) == pytest.approx(
        (0.7 - bias - half, 0.7 - bias + half), abs=3e-3
    )
    hidden = bias / (2**0.5 - 1)
    assert (told["map50"].low, told["map50"].high) == pytest.approx(
        (0.7 - hidden - half, 0.7 - hidden + half), abs=4e-3
    )


def test_a_figure_lies_within_its_own_interval():
    drawn = np.linspace(0.698, 0.8, 100)  # nearly all above it
    told = bootstrap.told({"map": np.full(1, 0.7)}, {}, {"map": drawn})["map"]
    assert told.low <= told.value <= told.high
