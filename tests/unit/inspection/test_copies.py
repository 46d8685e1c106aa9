"""Copies within a split are told of, across splits they are a gate, and where labels differ that is said."""

import functools

import pytest

import scenes
from material import boxes, material
from thaw.inspection.checks import copies


@functools.cache
def signature(scene, quality=None):
    image = scenes.scene(scene)
    return scenes.signature(image if quality is None else scenes.compressed(image, quality))


def row(name, split, scene, quality=None):
    """Return an image of a scene: the file itself, or compressed."""
    return {
        "id": name,
        "split": split,
        "sha256": f"{scene} {quality}",
        "signature": signature(scene, quality),
    }


def others(count=6):
    """Return images without a copy."""
    return [row(f"other-{place}", "train", 100 + place) for place in range(count)]


def found(rows, **words):
    return {one.name: one for one in copies.check(material([*rows, *others()], **words))}


def test_images_without_copies_are_passed():
    assert found([row("a", "train", 1), row("b", "test", 2)]) == {}


def test_an_exact_copy_in_another_split_is_a_gate():
    gate = found([row("a", "train", 1), row("b", "test", 1)])["copies_across_splits"]
    assert (gate.level, gate.count) == ("gate", 1)
    assert gate.told == "1 groups of copies lie in several splits: 1 of 1 test with a copy in train."
    [case] = gate.cases
    assert case.images == ("b", "a")
    assert case.note == "1 in test and 1 in train; the same file"
    assert gate.figures["test with a copy in train"] == 1
    assert gate.name in copies.GATES


@pytest.mark.parametrize(("tested", "level"), [(20, "gate"), (21, "warning")])
def test_copies_of_few_of_the_held_out_images_are_a_warning(tested, level):
    rows = [
        row("a", "train", 1),
        row("b", "test", 1),
        *(row(f"t{one}", "test", 200 + one) for one in range(tested - 1)),
    ]
    assert found(rows)["copies_across_splits"].level == level


def test_a_near_copy_in_another_split_is_a_gate():
    findings = found([row("a", "train", 1), row("b", "val", 1, quality=40)])
    assert findings.keys() == {"copies_across_splits"}
    assert findings["copies_across_splits"].cases[0].note == "1 in val and 1 in train; near copies"


def test_copies_within_a_split_are_warned_of_by_kind():
    rows = [
        row("a", "train", 1),
        row("b", "train", 1),
        row("c", "train", 1),
        row("d", "test", 2),
        row("e", "test", 2, 40),
    ]
    findings = found(rows)
    assert findings.keys() == {"exact_copies", "near_copies"}
    assert {one.level for one in findings.values()} == {"warning"}
    assert findings["exact_copies"].count == 2
    assert findings["exact_copies"].figures == {"train": 2, "val": 0, "test": 0}
    assert findings["near_copies"].cases[0].images == ("d", "e")


def test_a_group_across_splits_is_told_of_once():
    rows = [row("a", "train", 1), row("b", "train", 1), row("c", "test", 1, quality=40)]
    assert found(rows).keys() == {"copies_across_splits"}


def test_of_a_large_group_every_split_is_shown_first():
    rows = [row(f"a{place}", "train", 1) for place in range(20)] + [row("b", "test", 1), row("c", "val", 1)]
    [case] = found(rows)["copies_across_splits"].cases
    assert case.images[:4] == ("b", "c", "a0", "a1")
    assert len(case.images) == 8


def disagreeing(rows, task, labels, kind, **words):
    unlabelled = [None] * len(others())
    findings = found(rows, tasks={task: {"type": kind}}, labels={task: [*labels, *unlabelled]}, **words)
    return findings.get("copies_disagree")


def test_copies_with_different_classes_are_warned_of_with_both():
    rows = [row("a", "train", 1), row("b", "train", 1), row("c", "train", 2), row("d", "train", 2, 40)]
    one = disagreeing(rows, "kind", [0, 1, 1, 1], "classification", names={"kind": ("rye", "oat")})
    assert (one.level, one.task, one.count) == ("warning", "kind", 1)
    assert one.cases[0].images == ("a", "b")
    assert one.cases[0].note == "rye and oat"


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("classification", [1, None]),
        ("multilabel", [(0, 1), (1, 0)]),
        ("multilabel", [(0, 1), None]),
        ("detection", [boxes((0, 0, 9, 9, 1)), boxes((1, 0, 9, 9, 1))]),
    ],
)
def test_copies_that_agree_or_carry_no_label_do_not_disagree(kind, labels):
    assert disagreeing([row("a", "train", 1), row("b", "train", 1)], "kind", labels, kind) is None


def test_copies_with_different_sets_disagree():
    rows = [row("a", "train", 1), row("b", "train", 1)]
    one = disagreeing(rows, "tags", [(0, 1), ()], "multilabel", names={"tags": ("big", "old")})
    assert one.cases[0].note == "big, old and nothing"


def test_boxes_are_compared_between_the_same_files_alone():
    labels = [boxes((0, 0, 9, 9, 1), (9, 9, 20, 20, 1)), boxes((0, 0, 9, 9, 1))]
    same = [row("a", "train", 1), row("b", "train", 1)]
    near = [row("a", "train", 1), row("b", "train", 1, 40)]
    assert disagreeing(same, "found", labels, "detection").cases[0].note == "2 b and b"
    assert disagreeing(near, "found", labels, "detection") is None
