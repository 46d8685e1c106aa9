"""Folds are of equal size and kind, and a group is never divided."""

import numpy as np
import pytest

from thaw.probe import folds

GROUPS = np.array([f"image {one}" for one in range(103)])
STRATA = np.random.default_rng(0).integers(0, 4, 103)


def test_each_stratum_is_spread_evenly() -> None:
    fold = folds.deal(STRATA, GROUPS, 5, 0)
    for stratum in range(4):
        sizes = np.bincount(fold[stratum == STRATA], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert set(np.bincount(fold)) == {20, 21}


def test_many_small_strata_fill_all_folds_alike() -> None:
    fold = folds.deal(np.arange(100) // 2, GROUPS[:100], 5, 0)
    assert set(np.bincount(fold)) == {20}


def test_a_group_stays_together_whatever_its_strata() -> None:
    groups = np.array([f"image {one % 40}" for one in range(103)])
    fold = folds.deal(STRATA, groups, 5, 0)
    assert all(len(set(fold[groups == group])) == 1 for group in groups)
    assert set(fold) == set(range(5))


def test_the_seed_decides() -> None:
    first, again, other = (folds.deal(STRATA, GROUPS, 5, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_set_belongs_to_its_rarest_class() -> None:
    sets = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    first, second, third, empty, last = folds.strata_of(sets)
    assert first == last
    assert len({first, second, third, empty}) == 4


@pytest.mark.parametrize("classes", [np.array([2, 0, 1])])
def test_a_class_is_its_own_stratum(classes: np.ndarray) -> None:
    assert (folds.strata_of(classes) == classes).all()
