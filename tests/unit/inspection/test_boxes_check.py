"""Boxes: what was set aside is told, and a box that is given twice, with the same class or another."""

import pytest

from material import boxes, images, material
from thaw.inspection.checks import boxes as check

FIRST = (10, 10, 30, 30)


def found(*labels, rejected=()):
    """Return what is found of images with these boxes, by name."""
    made = material(
        images(len(labels)), {"things": {"type": "detection"}}, labels={"things": labels}, rejected=rejected
    )
    return {one.name: one for one in check.check(made)}


@pytest.mark.parametrize("reason", check._SET_ASIDE)
def test_boxes_that_were_set_aside_are_told_by_reason(reason):
    said = found(boxes(), rejected=[("a.jpg", reason), ("b.jpg", reason), ("c.jpg", "empty")])
    assert said.keys() == {reason}
    assert (said[reason].count, said[reason].level) == (2, "warning")
    assert [one.note for one in said[reason].cases] == [f"a.jpg {reason}", f"b.jpg {reason}"]


@pytest.mark.parametrize(("other", "same"), [(FIRST, True), ((10, 10, 30, 30.9), True), ((10, 10, 30, 31.2), False)])
def test_a_box_over_another_is_given_twice_if_they_nearly_are_one(other, same):
    said = found(boxes((*FIRST, 0), (*other, 0)), boxes((*FIRST, 0)))
    assert said.keys() == ({"boxes_twice"} if same else set())
    if same:
        assert said["boxes_twice"].told.startswith("1 of 3 boxes is given twice for things")
        assert said["boxes_twice"].cases[0].images == ("train-000",)
        assert said["boxes_twice"].cases[0].note.startswith("a [10, 10, 30, 30] and a [10, 10, 30, 3")


def test_a_box_with_two_classes_is_told_as_that():
    said = found(boxes((*FIRST, 0), (*FIRST, 1)))
    assert said.keys() == {"boxes_of_two_classes"}
    assert said["boxes_of_two_classes"].cases[0].note == "a [10, 10, 30, 30] and b [10, 10, 30, 30]"


def test_three_times_the_same_box_are_two_too_many():
    assert found(boxes(*[(*FIRST, 0)] * 3))["boxes_twice"].count == 2


def test_boxes_of_different_images_are_never_the_same():
    assert found(boxes((*FIRST, 0)), None, boxes(), boxes((*FIRST, 0))) == {}


def test_images_with_most_pairs_come_first():
    other = (40, 10, 60, 30)
    said = found(boxes(*[(*FIRST, 0)] * 2), boxes(*[(*FIRST, 0)] * 2, *[(*other, 1)] * 2))
    assert [one.images[0] for one in said["boxes_twice"].cases] == ["train-001", "train-000"]


def test_nothing_is_said_of_images_without_labels():
    assert found(None, None) == {}
