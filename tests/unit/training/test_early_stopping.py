"""A phase ends when it has stopped getting better, and only then."""

from dataclasses import dataclass

import pytest

from thaw.config.experiment import EarlyStopping
from thaw.training.early_stopping import is_due


@dataclass(frozen=True)
class _Epoch:
    score: float
    phase: int = 0


def _due(scores: list[float], patience: int | None, min_delta: float = 0.0) -> bool:
    return is_due([_Epoch(score) for score in scores], EarlyStopping(patience=patience, min_delta=min_delta))


@pytest.mark.parametrize(
    ("scores", "patience", "due"),
    [
        ([0.5], 1, False),
        ([0.5, 0.6], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.45], 2, True),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.6, 0.5], 2, False),
        ([0.5, 0.4, 0.6, 0.6, 0.6], 2, True),
        ([0.0, 0.0], 1, True),
        ([], 1, False),
    ],
)
def test_it_is_due_after_patience_epochs_without_a_better_score(scores: list[float], patience: int, due: bool) -> None:
    assert _due(scores, patience) is due


def test_better_means_by_more_than_the_least_difference() -> None:
    assert _due([0.5, 0.625], 1, min_delta=0.125)
    assert not _due([0.5, 0.63], 1, min_delta=0.125)
    assert _due([0.5, 0.51, 0.52, 0.53], 3, min_delta=0.125)
    assert not _due([0.5, 0.55, 0.60, 0.65], 3, min_delta=0.125)


def test_without_patience_no_phase_ends_early() -> None:
    assert not _due([0.5] * 50, None)


def test_every_phase_counts_from_its_own_beginning() -> None:
    options = EarlyStopping(patience=2)
    before = [_Epoch(0.9), _Epoch(0.8), _Epoch(0.8)]
    assert is_due(before, options)
    assert not is_due([*before, _Epoch(0.1, phase=1)], options)
    assert not is_due([*before, _Epoch(0.1, 1), _Epoch(0.1, 1)], options)
    assert is_due([*before, _Epoch(0.1, 1), _Epoch(0.1, 1), _Epoch(0.05, 1)], options)
