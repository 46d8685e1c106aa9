"""Resamples vary as figures on as many images do, and all sizes share them."""

import numpy as np
import pytest

from thaw.probe.curve import bootstrap

RANDOM = np.random.default_rng(0)
TRUTH = np.zeros(100, dtype=np.int64)
ANSWERS = (RANDOM.random((4, 5, 100)) < np.array([0.4, 0.3, 0.2, 0.1])[:, None, None]).astype(np.int64)


def test_values_are_those_of_every_size_and_draw() -> None:
    assert bootstrap.values(ANSWERS, TRUTH) == pytest.approx((ANSWERS == 0).mean(axis=2))


def test_errors_vary_around_what_was_measured_as_binomials_do() -> None:
    same = np.repeat(ANSWERS[:, :1], 5, axis=1)  # without draws that differ, images alone vary
    errors, measured = bootstrap.errors(same, TRUTH, 0), (same[:, 0] != 0).mean(axis=1)
    assert errors.mean(axis=0) == pytest.approx(measured, abs=0.01)
    assert errors.std(axis=0) == pytest.approx(np.sqrt(measured * (1 - measured) / 100), rel=0.15)


def test_draws_vary_too() -> None:
    answers = np.zeros((3, 4, 100), dtype=np.int64)
    answers[:, 0] = 1  # one draw of four is all wrong, so images make no difference
    errors = bootstrap.errors(answers, TRUTH, 0)
    assert errors.mean() == pytest.approx(0.25, abs=0.03)
    assert set(np.unique(errors)) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(set(np.unique(errors))) > 2


def test_sizes_share_images_and_draws() -> None:
    errors = bootstrap.errors(np.repeat(ANSWERS[:1], 3, axis=0), TRUTH, 0)
    assert (errors == errors[:, :1]).all()


def test_of_sets_it_is_the_mean_f1() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1]])
    answers = np.array([[[[1, 0], [0, 0], [1, 1]]]])
    assert bootstrap.values(answers, truth) == pytest.approx(np.array([[(1 + 2 / 3) / 2]]))
