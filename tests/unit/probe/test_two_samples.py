"""Sets of one kind are told apart by chance alone, and sets of two kinds by how different they are."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thaw.probe import two_samples
from thaw.probe.two_samples import LEAST_IMAGES, Comparison, compare


def _set(seed: int, count: int = 120, shift: float = 0.0, features: int = 30) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).normal(size=(count, features))
    made[:, 0] += shift
    return made.astype(np.float32)


def _compared(first: NDArray[np.float32], second: NDArray[np.float32], seed: int = 0) -> Comparison:
    found = compare(first, second, seed)
    assert found is not None
    return found


def test_sets_of_one_kind_are_told_apart_by_chance() -> None:
    found = [_compared(_set(2 * seed), _set(2 * seed + 1, 60), seed) for seed in range(12)]
    assert np.mean([one.auc for one in found]) == pytest.approx(0.5, abs=0.04)
    p = np.array([one.p for one in found])
    assert (p < 0.05).sum() <= 2
    assert p.min() < 0.5 < p.max()


@pytest.mark.parametrize(("shift", "auc"), [(1.0, 0.76), (2.0, 0.92)])  # of two normal distributions so far apart
def test_the_area_is_that_of_the_difference(shift: float, auc: float) -> None:
    found = _compared(_set(0, 600), _set(1, 400, shift))
    assert found.auc == pytest.approx(auc, abs=0.05)
    assert found.p == pytest.approx(1 / 500)


def test_sets_of_different_sizes_are_told_apart_alike() -> None:
    even, uneven = _compared(_set(0, 600), _set(1, 600, 1.5)), _compared(_set(0, 1000), _set(1, 60, 1.5))
    assert even.auc == pytest.approx(uneven.auc, abs=0.08)


def test_the_strangest_is_the_one_that_differs_most() -> None:
    second = _set(1, 100, 1.0)
    second[:10, 0] += 10
    found = _compared(_set(0, 200), second)
    strangest = found.rows[np.argsort(-found.strangeness)[:10]]
    assert set(strangest) == set(range(10))
    assert found.strangeness[np.argsort(-found.strangeness)[9]] > 2


def test_at_most_so_many_are_seen_of_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_samples, "MOST_IMAGES", 50)
    found = _compared(_set(0, 120), _set(1, 45))
    assert found.seen == (50, 45)
    assert len(set(found.rows)) == len(found.rows) == len(found.strangeness) == 45


def test_the_seed_decides() -> None:
    sets = _set(0), _set(1, shift=0.3)
    first, again, other = _compared(*sets), _compared(*sets), _compared(*sets, seed=1)
    assert (first.auc, first.p) == (again.auc, again.p)
    assert first.auc != other.auc


def test_too_few_images_say_nothing() -> None:
    few = _set(0, LEAST_IMAGES - 1)
    assert compare(few, _set(1), 0) is None
    assert compare(_set(1), few, 0) is None


def test_equal_scores_stand_in_no_order() -> None:
    scores = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 2.0]])
    sides = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert two_samples._auc(scores, sides).tolist() == [0.5, 0.875]


def test_images_that_are_the_same_are_told_apart_by_nothing() -> None:
    blank = np.zeros((80, 30), dtype=np.float32)
    assert _compared(blank, blank).auc == pytest.approx(0.5)
