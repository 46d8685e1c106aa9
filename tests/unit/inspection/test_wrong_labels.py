"""Suspected wrong labels are named with what was said and what it looks like, the surest first."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from material import material
from thaw.inspection.checks import labels
from thaw.inspection.finding import SHOWN, Finding

NAMES = ("oat", "rye", "spelt", "wheat")
TRUTH = np.arange(240) % len(NAMES)
SPLITS = ["train"] * 160 + ["val"] * 40 + ["test"] * 40
ROWS = [{"id": f"{place:03d}", "split": split, "sha256": f"{place:064d}"} for place, split in enumerate(SPLITS)]
VECTORS = np.eye(4, 10)[TRUTH] + 0.2 * np.random.default_rng(0).normal(size=(240, 10))
SWAPPED = (3, 50, 99, 170, 230)
OPTIONS = {"classification": {"kind": {"type": "classification"}}, "multilabel": {"kind": {"type": "multilabel"}}}


def _swapped(truth: NDArray[np.int64]) -> NDArray[np.int64]:
    said = truth.copy()
    said[list(SWAPPED)] = (said[list(SWAPPED)] + 1) % len(NAMES)
    return said


def _found(said: list[Any], kind: str = "classification", **values: Any) -> list[Finding]:
    made = material(
        values.pop("rows", ROWS),
        OPTIONS[kind],
        {"kind": NAMES},
        labels={"kind": said},
        **{"vectors": VECTORS, **values},
    )
    return list(labels.check(made))


def test_swapped_labels_are_named() -> None:
    [found] = _found(_swapped(TRUTH).tolist())
    assert (found.name, found.level, found.task) == ("wrong_labels", "warning", "kind")
    assert found.count == len(SWAPPED)
    assert {case.images for case in found.cases} == {(f"{place:03d}",) for place in SWAPPED}
    assert {case.note for case in found.cases if case.images == ("003",)} == {"said oat, looks like wheat"}
    scores = [case.score for case in found.cases if case.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 < score <= 1 for score in scores)


def test_it_says_how_good_the_judges_are_and_how_many_are_expected_to_be_wrong() -> None:
    [found] = _found(_swapped(TRUTH).tolist())
    assert "5 of 240 labels of kind" in found.told
    agreement = found.figures["agreement"]
    assert agreement == pytest.approx(235 / 240, abs=0.01)
    assert f"{agreement:.1%}" in found.told
    assert found.figures["expected_wrong"]["of all labels"] == pytest.approx(5 / 240, abs=0.01)
    assert found.figures["named_by_split"] == {"train": 3, "val": 1, "test": 1}
    assert sum(found.figures["named_by_pair"].values()) == 5


def test_one_class_taken_for_another_is_a_note_of_its_own() -> None:
    bad = np.flatnonzero(TRUTH == 0)[::7]
    said = TRUTH.copy()
    said[bad] = 1
    said[[3, 50, 99]] = TRUTH[[50, 99, 3]]
    wrong, note = _found(said.tolist())
    assert (wrong.name, note.name, note.level) == ("wrong_labels", "hard_or_wrong_labels", "note")
    assert f"{note.count} of 240 labels of kind belong to images" in note.told
    rest, named = ([case.images[0] for case in one.cases] for one in (wrong, note))
    assert not {*named} & {*rest}
    assert len({*named, *rest} & {f"{place:03d}" for place in bad}) > len(bad) / 2
    assert note.cases[0].note == "said rye, looks like oat"


def test_right_labels_are_not_named() -> None:
    assert _found(TRUTH.tolist()) == []


def test_images_without_a_label_are_neither_judged_nor_counted() -> None:
    said: list[Any] = _swapped(TRUTH).tolist()
    said[::10] = [None] * 24
    [found] = _found(said)
    kept = [place for place in SWAPPED if place % 10]
    assert "of 216 labels" in found.told
    assert {case.images[0] for case in found.cases} == {f"{place:03d}" for place in kept}


def test_of_sets_what_is_missing_and_what_is_too_much_are_told_apart() -> None:
    said = [(int(one),) for one in TRUTH]
    said[3], said[50] = (), (int(TRUTH[50]), 0)
    [found] = _found(said, "multilabel")
    notes = {case.images[0]: case.note for case in found.cases}
    assert notes == {"003": "looks like wheat, not said so", "050": "said oat, does not look like it"}


def test_no_more_cases_are_kept_than_are_shown() -> None:
    random = np.random.default_rng(1)
    said = np.where(random.random(240) < 0.2, (TRUTH + random.integers(1, 4, 240)) % 4, TRUTH)
    [found] = _found(said.tolist())
    assert found.count > SHOWN == len(found.cases)


def test_without_vectors_nothing_is_said() -> None:
    assert _found(_swapped(TRUTH).tolist(), vectors=None) == []


def test_boxes_and_masks_are_not_judged() -> None:
    options = {"things": {"type": "detection"}, "paint": {"type": "segmentation"}}
    made = material(ROWS, options, {"things": NAMES, "paint": NAMES}, vectors=VECTORS)
    assert list(labels.check(made)) == []
