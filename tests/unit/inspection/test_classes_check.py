"""Classes: what cannot be learnt or judged is told, counted by images or boxes, for every kind of task."""

import numpy as np
import pytest

from material import boxes, images, material
from thaw.inspection.checks import classes
from thaw.inspection.checks.classes import START, margin, missing

NAMES = ("ant", "bee", "cat")


def found(made):
    """Return what is found, by name."""
    return {one.name: one for one in classes.check(made)}


def of_kinds(train, val, test, kind="classification", names=NAMES):
    """Return material of one task, ``animal``, with so many images of each class in each split."""
    rows, labels = [], []
    for split, counts in (("train", train), ("val", val), ("test", test)):
        rows += images(sum(counts), split)
        labels += [label for label, count in enumerate(counts) for _ in range(count)]
    given = {
        "classification": labels,
        "multilabel": [(label,) for label in labels],
        "detection": [boxes((0, 0, 9, 9, label)) for label in labels],
        "segmentation": [np.full((2, 2), label, np.uint8) for label in labels],
    }[kind]
    return material(rows, {"animal": {"type": kind}}, {"animal": names}, labels={"animal": given})


KINDS = ("classification", "multilabel", "detection", "segmentation")


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_is_tested_and_never_trained_is_a_gate(kind):
    made = of_kinds((60, 60, 0), (20, 20, 0), (20, 20, 3), kind)
    first, *_ = classes.check(made)
    assert (first.name, first.level, first.task, first.count) == ("classes_absent_from_train", "gate", "animal", 1)
    assert first.name in classes.GATES
    assert first.told == "1 of 3 classes of animal occur in val or test and never in train: cat."
    assert {one.images[0] for one in first.cases} == {"test-040", "test-041", "test-042"}
    assert first.figures == {"train": {"cat": 0}, "val": {"cat": 0}, "test": {"cat": 3}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_is_trained_and_not_measured_is_a_warning(kind, split):
    counts = {"val": (20, 20, 20), "test": (20, 20, 20), split: (20, 0, 20)}
    said = found(of_kinds((60, 60, 60), counts["val"], counts["test"], kind))
    assert said.keys() == {f"classes_absent_from_{split}", "class_counts"}
    assert said[f"classes_absent_from_{split}"].level == "warning"
    assert said[f"classes_absent_from_{split}"].told.endswith(f"never occur in {split}: bee.")


def test_a_class_that_occurs_nowhere_misleads_nobody_but_is_told_to_lack_images():
    said = found(of_kinds((60, 60, 0), (20, 20, 0), (20, 20, 0)))
    assert said.keys() == {"classes_few_in_train", "class_counts"}
    assert said["classes_few_in_train"].figures["more"] == {"cat": START}


def test_a_split_without_any_label_is_not_told_class_by_class():
    said = found(of_kinds((60, 60, 60), (20, 20, 20), (0, 0, 0)))
    assert said.keys() == {"class_counts"}
    assert found(of_kinds((0, 0, 0), (20, 20, 20), (20, 20, 20))).keys() == {"class_counts"}


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_every_split_are_told(kind):
    said = found(of_kinds((60, 61, 62), (20, 21, 22), (20, 21, 23), kind))
    assert said.keys() == {"class_counts"}
    assert said["class_counts"].figures == {
        "train": {"ant": 60, "bee": 61, "cat": 62},
        "val": {"ant": 20, "bee": 21, "cat": 22},
        "test": {"ant": 20, "bee": 21, "cat": 23},
    }
    assert "183 in train, 63 in val, 64 in test" in said["class_counts"].told


def test_classes_with_few_training_images_are_told_with_what_they_lack():
    said = found(of_kinds((START, START - 1, 30), (20, 20, 20), (20, 20, 20)))["classes_few_in_train"]
    assert (said.level, said.count, said.figures["more"]) == ("note", 2, {"bee": 1, "cat": 20})
    assert "21 more in all" in said.advice
    said = found(of_kinds((START, 9, 10), (20, 20, 20), (20, 20, 20)))["classes_few_in_train"]
    assert said.level == "warning"
    assert said.told.endswith("and 1 fewer than 10: bee.")


def test_boxes_are_counted_one_by_one():
    rows = [*images(10), *images(20, "val"), *images(20, "test")]
    crowd = boxes(*[(0, 0, 9, 9, label) for label in (0, 1, 2) for _ in range(6)])
    made = material(rows, {"animal": {"type": "detection"}}, {"animal": NAMES}, labels={"animal": [crowd] * 50})
    said = found(made)
    assert said.keys() == {"class_counts"}
    assert said["class_counts"].figures["train"] == {"ant": 60, "bee": 60, "cat": 60}


@pytest.mark.parametrize(("most", "level"), [(499, None), (500, "note"), (4999, "note"), (5000, "warning")])
def test_imbalance_is_told_by_its_size_and_classes_without_any_do_not_count(most, level):
    said = found(of_kinds((most, 50, 0), (20, 20, 0), (20, 20, 0))).get("classes_unbalanced")
    assert (said.level if said else None) == level
    if said:
        assert said.told.startswith(
            f"In train, ant is {most / 50:,.0f} times as frequent as bee for animal: {most:,} to 50"
        )


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes_with_too_few_images_to_judge_are_told(split):
    counts = {"val": (20, 20, 20), "test": (20, 20, 20), split: (20, 9, 10)}
    said = found(of_kinds((60, 60, 60), counts["val"], counts["test"]))[f"classes_few_in_{split}"]
    assert (said.level, said.figures) == ("note", {"images": {"bee": 9}})


@pytest.mark.parametrize("images_seen", [4, 10, 100])
def test_the_margin_is_that_of_wilsons_interval_at_one_half(images_seen):
    z, share = 1.96, 0.5
    spread = z * np.sqrt(share * (1 - share) / images_seen + z**2 / (4 * images_seen**2)) / (1 + z**2 / images_seen)
    assert margin(images_seen) == pytest.approx(spread)


def test_what_is_missing_is_told_for_classes_without_any_image_too():
    assert missing({"ant": 0, "bee": START, "cat": START - 3}) == {"ant": START, "cat": 3}


@pytest.mark.parametrize("reason", classes._SET_ASIDE)
def test_labels_that_were_set_aside_are_told_by_reason(reason):
    made = of_kinds((60, 60, 60), (20, 20, 20), (20, 20, 20))
    aside = material(images(1), rejected=[("a.jpg", reason), ("b.jpg", "truncated")])
    assert f"labels_{reason}" not in found(made)
    assert (found(aside)[f"labels_{reason}"].count, found(aside)[f"labels_{reason}"].level) == (1, "warning")
