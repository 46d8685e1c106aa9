"""A shift of classes is named where it is both large and certain, however many classes an image may have."""

import numpy as np
import pyarrow as pa
import pytest

from thaw.serving.watch.drift import decided
from thaw.serving.watch.drift.decided import Decided
from thaw.serving.watch.drift.shift import shift

NAMES = ("a", "b", "c")


def exclusive(shares, images: int, seed: int) -> Decided:
    chosen = np.random.default_rng(seed).choice(len(NAMES), images, p=shares)
    return Decided(NAMES, np.eye(len(NAMES), dtype=bool)[chosen], np.full(images, 0.5, np.float32))


def several(shares, images: int, seed: int) -> Decided:
    shown = np.random.default_rng(seed).random((images, len(NAMES))) < np.array(shares)
    return Decided(NAMES, shown, np.full(images, 0.5, np.float32))


def test_samples_of_one_distribution_are_rarely_told_apart_and_their_index_is_small():
    found = [
        shift(exclusive((0.5, 0.3, 0.2), 150, 2 * seed), exclusive((0.5, 0.3, 0.2), 100, 2 * seed + 1), True, seed)
        for seed in range(30)
    ]
    assert sum(one.p <= 0.05 for one in found) <= 4
    assert all(one.index.value < 0.3 for one in found)
    assert sum(one.index.low == 0 for one in found) >= 25


def test_the_index_is_that_of_the_shares_and_its_interval_holds_it():
    true = sum((now - was) * np.log(now / was) for was, now in ((0.5, 0.2), (0.3, 0.3), (0.2, 0.5)))
    found = shift(exclusive((0.5, 0.3, 0.2), 4000, 0), exclusive((0.2, 0.3, 0.5), 4000, 1), True, 0)
    assert found.index.low <= true <= found.index.high
    assert found.index.value == pytest.approx(true, abs=0.08)
    assert found.p == pytest.approx(0.001)
    assert found.of is None
    assert found.reference["a"] == pytest.approx(0.5, abs=0.03)
    assert found.live["c"] == pytest.approx(0.5, abs=0.03)
    assert found.images == (4000, 4000)


def test_of_classes_that_stand_by_themselves_the_one_that_differs_most_is_named():
    found = shift(several((0.5, 0.1, 0.9), 500, 0), several((0.5, 0.6, 0.9), 500, 1), False, 0)
    assert found.of == "b"
    assert found.index.value > 0.5
    assert found.p == pytest.approx(0.001)
    alike = [
        shift(several((0.5, 0.1, 0.9), 200, seed), several((0.5, 0.1, 0.9), 200, 99 + seed), False, seed)
        for seed in range(20)
    ]
    assert sum(one.p <= 0.05 for one in alike) <= 4


def test_a_class_that_was_never_answered_is_no_division_by_zero():
    found = shift(exclusive((1, 0, 0), 50, 0), exclusive((0, 1, 0), 50, 1), True, 0)
    assert np.isfinite(found.index.value)
    assert np.isfinite(found.index.high)
    nothing = Decided(NAMES, np.zeros((30, 3), bool), np.full(30, np.nan, np.float32))
    alike = shift(nothing, nothing, False, 0)
    assert (alike.index.value, alike.p, alike.confidence) == (0, 1, (None, None))


def test_a_few_images_are_not_judged():
    assert shift(exclusive((0.5, 0.3, 0.2), 19, 0), exclusive((0.5, 0.3, 0.2), 100, 1), True, 0) is None


def test_a_column_of_the_log_is_read_task_by_task_and_unknown_classes_are_passed_over():
    rows = [
        [{"task": "colour", "label": "red", "score": 0.5}, {"task": "tags", "label": "b", "score": 0.25}],
        [],
        [{"task": "tags", "label": "c", "score": 0.75}, {"task": "tags", "label": "a", "score": 0.5}],
        [{"task": "colour", "label": "new", "score": 1.0}],
    ]
    found = decided.of_column(
        pa.chunked_array([rows[:2], rows[2:]]), {"tags": NAMES, "colour": ("blue", "red"), "no": ("x",)}
    )
    assert found["tags"].shown.tolist() == [[False, True, False], [False] * 3, [True, False, True], [False] * 3]
    assert found["tags"].sure[[0, 2]].tolist() == [0.25, 0.75]
    assert np.isnan(found["tags"].sure[[1, 3]]).all()
    assert found["colour"].shown.tolist() == [[False, True], [False, False], [False, False], [False, False]]
    assert found["tags"].confidence == 0.5
    assert found["no"].shown.shape == (4, 1)
