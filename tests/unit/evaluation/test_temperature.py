"""The temperature undoes what made scores too sure."""

import numpy as np
import pytest

from thaw.evaluation import calibration
from thaw.metrics.boxes import ImageBoxes
from thaw.metrics.weighted.boxes import BoxSample
from thaw.metrics.weighted.classes import ClassSample, SetSample
from thaw.metrics.weighted.masks import MaskSample

N = 4000


def _classes(sharpness: float) -> ClassSample:
    """Return answers of a model whose outputs are so many times too large."""
    random = np.random.default_rng(0)
    outputs = random.normal(size=(N, 3)) * 2
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) < random.random((N, 1))).sum(axis=1)
    told = np.exp(sharpness * outputs)
    scores = told / told.sum(axis=1, keepdims=True)
    return ClassSample(("a", "b", "c"), scores, targets, scores.argmax(axis=1), np.zeros(N, dtype=bool))


def _sets(sharpness: float) -> SetSample:
    random = np.random.default_rng(1)
    outputs = random.normal(size=(N, 2)) * 2
    targets = random.random((N, 2)) < 1 / (1 + np.exp(-outputs))
    scores = 1 / (1 + np.exp(-sharpness * outputs))
    return SetSample(("x", "y"), scores, targets, scores >= 0.5)


def _boxes(sharpness: float) -> BoxSample:
    random = np.random.default_rng(2)
    images = []
    for output in random.normal(size=N):
        hit = random.random() < 1 / (1 + np.exp(-output))
        place = np.array([[0.0, 0, 10, 10]]) if hit else np.array([[50.0, 50, 60, 60]])
        score = np.array([1 / (1 + np.exp(-sharpness * output))])
        truth = ImageBoxes(np.array([[0.0, 0, 10, 10]]), np.zeros(1, int), np.ones(1))
        images.append((ImageBoxes(place, np.zeros(1, int), score), truth))
    return BoxSample(("x",), images, np.array([0.5]), 100)


MADE = {"classes": _classes, "sets": _sets, "boxes": _boxes}


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", MADE)
def test_the_temperature_is_how_much_too_sure_scores_are(kind, sharpness):
    assert calibration.temperature(MADE[kind](sharpness)) == pytest.approx(sharpness, rel=0.1)


@pytest.mark.parametrize("kind", MADE)
def test_scores_mean_what_they_say_afterwards(kind):
    sample = MADE[kind](3.0)
    before = calibration.reliability(sample)
    after = calibration.reliability(sample.tempered(calibration.temperature(sample)))
    assert before.error > 0.08
    assert after.error < 0.03


def test_where_all_is_right_nothing_is_learnt():
    scores = np.array([[0.9, 0.1], [0.6, 0.4]])
    sample = ClassSample(("a", "b"), scores, np.zeros(2, int), np.zeros(2, int), np.zeros(2, dtype=bool))
    assert calibration.temperature(sample) == 1


def test_masks_have_no_scores():
    sample = MaskSample(("a", "b"), np.ones((3, 2, 3), dtype=np.int64))
    assert calibration.temperature(sample) == 1
    assert calibration.reliability(sample) is None
