"""Agreement: masks and boxes are held against each other where they usually agree, and only there."""

import numpy as np
import pytest

from material import boxes, images, material
from thaw.inspection.checks import agreement

MASKS = ("background", "rust", "crack")
BOXES = ("crack", "rust")
RUST, CRACK = 1, 0  # as boxes have them


def mask(*parts):
    """Return a mask of 48 x 64 pixels with left, top, right, bottom and class of each part."""
    made = np.zeros((48, 64), np.uint8)
    for left, top, right, bottom, label in parts:
        made[top:bottom, left:right] = label
    return made


GOOD = (mask((10, 10, 20, 20, 1)), boxes((8, 8, 22, 22, RUST)))


def found(*pairs, names=MASKS, box_names=BOXES, good=4, **options):
    """Return what is found of images with these masks and boxes, and some where they agree, by name."""
    pairs = [*pairs, *[GOOD] * good]
    made = material(
        images(len(pairs)),
        {"area": {"type": "segmentation", **options}, "things": {"type": "detection"}},
        {"area": names, "things": box_names},
        labels={"area": [one for one, _ in pairs], "things": [one for _, one in pairs]},
    )
    return {one.name: one for one in agreement.check(made)}


def test_nothing_is_said_where_they_agree():
    both = mask((10, 10, 20, 20, 1), (40, 10, 50, 20, 2)), boxes((10, 10, 20, 20, RUST), (38, 9, 51, 21, CRACK))
    assert found(both, (mask(), boxes())) == {}


def test_a_box_on_background_is_told():
    said = found((GOOD[0], boxes((8, 8, 22, 22, RUST), (40, 10, 50, 20, RUST), (30, 30, 40, 40, CRACK))))
    assert said.keys() == {"boxes_on_background"}
    one = said["boxes_on_background"]
    assert (one.level, one.task, one.count) == ("warning", "area", 2)
    assert one.told.startswith("2 of 7 boxes of things are drawn where area shows background alone, on 1 of 5 images")
    assert [(case.images[0], case.note) for case in one.cases] == [("train-000", "2 on background")]


def test_where_most_boxes_are_on_background_they_are_not_meant_to_agree():
    assert found((mask(), boxes(*[(40, 10, 50, 20, RUST)] * 4)), box_names=("x", "y")) == {}
    assert found((mask(), boxes(*[(40, 10, 50, 20, RUST)] * 3)), box_names=("x", "y")).keys() == {"boxes_on_background"}


def test_a_box_of_another_class_than_the_mask_is_told():
    said = found((GOOD[0], boxes((8, 8, 22, 22, CRACK))))
    assert said.keys() == {"boxes_of_another_class_than_mask"}
    assert said["boxes_of_another_class_than_mask"].told.startswith("1 of 5 boxes of things is of another class")


def test_where_most_boxes_are_of_another_class_names_are_not_meant_alike():
    other = (GOOD[0], boxes((8, 8, 22, 22, CRACK)))
    assert found(other, other, other).keys() == {"boxes_of_another_class_than_mask"}
    assert found(other, other, other, good=3) == {}


def test_classes_that_the_mask_does_not_know_say_nothing_of_it():
    assert found((GOOD[0], boxes((8, 8, 22, 22, CRACK))), box_names=("hole", "dent")) == {}


@pytest.mark.parametrize(("right", "far"), [(23, False), (24, True), (60, True)])
def test_a_mask_outside_all_boxes_is_told_from_a_quarter_on(right, far):
    said = found((mask((10, 10, right, 20, 1)), boxes((10, 10, 20, 20, RUST))), good=9)  # 13 wide: 23 % outside
    assert said.keys() == ({"masks_outside_boxes"} if far else set())
    if far:
        assert said["masks_outside_boxes"].told.startswith(
            "1 of 10 masks of area is more than 25% outside of all boxes"
        )


def test_where_masks_are_usually_larger_than_boxes_they_are_not_meant_to_agree():
    head = (mask((10, 10, 60, 40, 1)), boxes((10, 10, 20, 20, RUST)))
    assert found(head, head, head, good=2) == {}


def test_without_a_background_only_classes_are_compared():
    empty = (mask(), boxes((40, 10, 50, 20, RUST)))
    named = ("floor", "rust", "crack")
    assert found(empty, names=named).keys() == {"boxes_of_another_class_than_mask"}
    assert found(empty, names=named, background="floor").keys() == {"boxes_on_background"}


def test_without_a_background_nothing_is_outside_of_boxes():
    whole, part = (mask(), boxes((0, 0, 64, 48, RUST))), (mask(), boxes((0, 0, 20, 20, RUST)))
    assert found(part, *[whole] * 4, names=("floor", "wall"), box_names=("hole", "dent"), good=0) == {}


def test_images_without_one_of_the_two_are_passed_over():
    assert found((None, boxes((40, 10, 50, 20, RUST))), (mask((0, 0, 9, 9, 1)), None)) == {}
    assert found((None, boxes()), good=0) == {}
    said = found((None, boxes()), (GOOD[0], boxes((8, 8, 22, 22, RUST), (40, 10, 50, 20, RUST))))
    assert said["boxes_on_background"].cases[0].images == ("train-001",)
