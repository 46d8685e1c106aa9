"""Resamples vary as figures on as many other images do, and all sizes share them."""

import numpy as np
import pytest

from thaw.probe.curve import bootstrap

RANDOM = np.random.default_rng(0)
TRUTH = np.zeros(100, dtype=np.int64)
SHARES = np.array([0.1, 0.2, 0.5, 1.0])
ANSWERS = (RANDOM.random((4, 5, 100)) < np.array([0.4, 0.3, 0.2, 0.1])[:, None, None]).astype(np.int64)


def test_values_are_those_of_every_size_and_draw() -> None:
    assert bootstrap.values(ANSWERS, TRUTH) == pytest.approx((ANSWERS == 0).mean(axis=2))


def test_errors_vary_around_what_was_measured_as_binomials_do() -> None:
    same = np.repeat(ANSWERS[:, :1], 5, axis=1)  # without draws that differ, images alone vary
    errors, measured = bootstrap.errors(same, TRUTH, SHARES, 0), (same[:, 0] != 0).mean(axis=1)
    assert errors.mean(axis=0) == pytest.approx(measured, abs=0.01)
    assert errors.std(axis=0) == pytest.approx(np.sqrt(measured * (1 - measured) / 100), rel=0.15)


def test_draws_vary_too() -> None:
    answers = np.zeros((3, 4, 100), dtype=np.int64)
    answers[:, 0] = 1  # one draw of four is all wrong, so images make no difference
    answers[-1] = 0
    errors = bootstrap.errors(answers, TRUTH, np.array([1e-9, 2e-9, 1.0]), 0)[:, :-1]
    assert errors.mean() == pytest.approx(0.25, abs=0.03)
    assert set(np.unique(errors.round(3))) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(set(np.unique(errors.round(3)))) > 2


def test_so_do_the_images_that_all_draws_share() -> None:
    worse = np.linspace(0.1, 0.9, 5)[None, :, None]
    answers = (np.random.default_rng(0).random((4, 5, 100)) < worse).astype(np.int64)
    answers[-1] = answers[-1, 2]
    other = bootstrap.spread(bootstrap.values(answers, TRUTH), SHARES)
    errors, measured = bootstrap.errors(answers, TRUTH, SHARES, 0), (answers[-1, 0] != 0).mean()
    assert other > 2 * np.sqrt(measured * (1 - measured) / 100)
    assert errors[:, -1].std() == pytest.approx(np.sqrt(other**2 + measured * (1 - measured) / 100), rel=0.15)
    assert (errors >= 0).all()
    assert (errors <= 1).all()


@pytest.mark.parametrize("images", [200, 1000])
def test_how_much_other_images_would_change_is_known_from_parts(images: int) -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(40):  # what is measured is the mean of some property of the images that are drawn
        pool = random.normal(size=images)
        parts = [[pool[random.permutation(images)[: int(share * images)]].mean() for _ in range(8)] for share in SHARES]
        found.append(bootstrap.spread(np.array(parts), SHARES))
    assert np.mean(found) == pytest.approx(1 / np.sqrt(images), rel=0.1)


def test_sizes_share_images_and_draws() -> None:
    errors = bootstrap.errors(np.repeat(ANSWERS[:1], 3, axis=0), TRUTH, np.array([0.1, 0.5, 1.0]), 0)
    assert (errors == errors[:, :1]).all()


def test_of_sets_it_is_the_mean_f1() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1]])
    answers = np.array([[[[1, 0], [0, 0], [1, 1]]]])
    assert bootstrap.values(answers, truth) == pytest.approx(np.array([[(1 + 2 / 3) / 2]]))
