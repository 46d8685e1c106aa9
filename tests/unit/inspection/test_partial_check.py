"""Partial: what is missing from a split or a task altogether is told, and missing labels are no fault."""

import pytest

from material import boxes, images, material
from thaw.inspection.checks import partial

TASKS = {"kind": {"type": "classification"}, "found": {"type": "detection"}}


def found(made):
    """Return what is found, by name and task."""
    return {(one.name, one.task): one for one in partial.check(made)}


def made_of(counts=None, unlabelled=()):
    """Return material of two tasks.

    Args:
        counts: images by split, 200 when left out.
        unlabelled: pairs of split and task.
    """
    counts = {"train": 200, "val": 200, "test": 200} | (counts or {})
    rows = [one for split, count in counts.items() for one in images(count, split)]
    full = {"kind": 0, "found": boxes()}
    labels = {
        task: [None if (one["split"], task) in unlabelled else label for one in rows] for task, label in full.items()
    }
    return material(rows, TASKS, labels=labels)


def test_nothing_is_said_where_nothing_is_missing():
    assert found(made_of()) == {}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_is_a_gate(split):
    [first] = partial.check(made_of({split: 0}))
    assert (first.name, first.level, first.told) == ("split_empty", "gate", f"There is no image in {split}.")
    assert first.name in partial.GATES


@pytest.mark.parametrize(("split", "level"), [("train", "gate"), ("val", "warning"), ("test", "warning")])
def test_a_task_without_labels_in_a_split_is_told(split, level):
    said = found(made_of(unlabelled=[(split, "found")]))
    one = said[f"task_unlabelled_in_{split}", "found"]
    assert (one.level, one.count) == (level, 200)
    assert (level == "gate") == (one.name in partial.GATES)
    assert not any(task == "kind" for _, task in said)


def test_shares_of_labelled_images_are_told_by_split():
    rows = [*images(200), *images(200, "val"), *images(200, "test")]
    labels = {"kind": [0] * 600, "found": [boxes() if row % 4 else None for row in range(200)] + [boxes()] * 400}
    one = found(material(rows, TASKS, labels=labels))["labels_partial", "found"]
    assert (one.level, one.count, one.figures) == ("note", 50, {"train": 0.75, "val": 1.0, "test": 1.0})


def test_a_task_without_any_label_is_not_partial():
    said = found(made_of(unlabelled=[(split, "found") for split in ("train", "val", "test")]))
    assert {name for name, _ in said} == {f"task_unlabelled_in_{split}" for split in ("train", "val", "test")}


def test_splits_too_small_to_measure_on_are_told_once_for_all_tasks():
    one = found(made_of({"val": 99}))["val_small", None]
    assert one.told.startswith("Few images in val measure kind on 99, found on 99")
    assert one.figures["margins"]["kind"] == pytest.approx(0.0966, abs=1e-3)
    assert ("val_small", None) not in found(made_of({"val": 100}))


def test_tasks_that_share_no_image_are_told():
    rows = [*images(200), *images(200, "val"), *images(200, "test")]
    odd = [row % 2 for row in range(600)]
    labels = {"kind": [0 if one else None for one in odd], "found": [None if one else boxes() for one in odd]}
    one = found(material(rows, TASKS, labels=labels))["tasks_share_no_image", None]
    assert (one.level, one.figures) == ("note", {"tasks": ["kind", "found"]})
    labels["found"][1] = boxes()
    assert ("tasks_share_no_image", None) not in found(material(rows, TASKS, labels=labels))
