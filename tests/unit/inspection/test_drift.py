"""A split that looks different from train is named with the images that look least like it; a like one is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from material import images, material
from thaw.inspection.checks import drift
from thaw.inspection.finding import Finding

COUNTS = {"train": 200, "val": 60, "test": 60}


def _found(shift: dict[str, float], images_of: dict[str, int] = COUNTS, copies: str = "") -> list[Finding]:
    rows = [row for split, count in images_of.items() for row in images(count, split)]
    for place, row in enumerate(rows):
        row["sha256"] = "copy" if row["split"] == copies else f"{place:064d}"
    vectors = np.concatenate([_vectors(count, shift.get(split, 0.0)) for split, count in images_of.items()])
    return list(drift.check(material(rows, vectors=vectors)))


def _vectors(count: int, shift: float) -> NDArray[np.float64]:
    made = np.random.default_rng(count + int(10 * shift)).normal(size=(count, 20))
    made[:, 3] += shift
    return made


def test_the_split_that_differs_is_named() -> None:
    [found] = _found({"val": 1.5})
    assert (found.name, found.level, found.count) == ("val_differs_from_train", "warning", 60)
    assert found.figures["auc"] > 0.7
    assert f"{found.figures['auc']:.0%}" in found.told
    assert found.figures["compared"] == {"train": 200, "val": 60}


def test_the_images_least_like_train_come_first() -> None:
    [found] = _found({"test": 1.5})
    scores = [case.score for case in found.cases if case.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(found.cases)
    assert all(case.images[0].startswith("test-") for case in found.cases)


def test_like_splits_are_not_named() -> None:
    assert _found({}) == []


def test_a_small_difference_is_not_named_however_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, shift = {"train": 1500, "val": 1500, "test": 30}, {"val": 0.4}
    assert _found(shift, counts) == []
    monkeypatch.setattr(drift, "DIFFERENT", 0.5)
    [found] = _found(shift, counts)
    assert found.figures["p"] <= drift.CERTAIN


def test_a_large_difference_is_not_named_unless_it_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "CERTAIN", 1e-6)
    assert _found({"val": 3.0}) == []


def test_copies_count_once() -> None:
    assert [one.name for one in _found({"val": 3.0, "test": 3.0}, copies="val")] == ["test_differs_from_train"]


def test_without_vectors_nothing_is_said() -> None:
    assert list(drift.check(material(images(50) + images(50, "val")))) == []
