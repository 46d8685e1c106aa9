"""Box sizes: they are told at the model's input, where a task has to find things."""

import pytest

from material import boxes, images, material
from thaw.inspection.checks import box_sizes

WIDTH, HEIGHT, INPUT = 200, 100, 50


def found(*labels, fit="stretch", size=INPUT, task=None):
    """Return what is found of images of 200 x 100 pixels with these boxes, by name."""
    made = material(
        images(len(labels), width=WIDTH, height=HEIGHT),
        {"things": {"type": "detection"} | (task or {})},
        labels={"things": labels},
        data={"image": {"size": size, "fit": fit}},
    )
    return {one.name: one for one in box_sizes.check(made)}


LARGE = (0, 0, 100, 50, 0)


@pytest.mark.parametrize(
    ("fit", "side", "tiny"),
    [("letterbox", 31, True), ("letterbox", 33, False), ("crop", 15, True), ("crop", 17, False)],
)
def test_a_box_below_one_place_of_the_finest_map_is_tiny(fit, side, tiny):
    said = found(boxes(LARGE, (50, 0, 50 + side, side, 1)), fit=fit)
    assert ("boxes_tiny" in said) is tiny
    if tiny:
        assert said["boxes_tiny"].told.startswith("1 of 2 boxes is smaller for things than 8 x 8 pixels")
        assert said["boxes_tiny"].figures == {"by_class": {"b": 1}}
        assert said["boxes_tiny"].cases[0].note.startswith("b [50, 0, ")


def test_a_detector_with_finer_maps_finds_smaller_things():
    small = boxes(LARGE, (50, 0, 66, 15, 1))
    assert "boxes_tiny" in found(small)
    assert "boxes_tiny" not in found(small, task={"detector": "faster_rcnn"})


@pytest.mark.parametrize(("right", "whole"), [(WIDTH, True), (191, True), (189, False)])
def test_a_box_as_large_as_the_image_says_little(right, whole):
    assert ("boxes_whole_image" in found(boxes((0, 0, right, HEIGHT, 0)))) is whole


@pytest.mark.parametrize(("fit", "left", "out"), [("crop", 0, True), ("crop", 40, False), ("letterbox", 0, False)])
def test_what_a_crop_leaves_out_is_told(fit, left, out):
    said = found(boxes((60, 10, 120, 60, 1), (left, 0, left + 40, 40, 0)), fit=fit)
    assert ("boxes_out_of_view" in said) is out
    assert not out or said["boxes_out_of_view"].figures == {"by_class": {"a": 1}}


def test_one_case_an_image_by_its_smallest_box():
    said = found(boxes((0, 0, 9, 9, 0), (0, 0, 5, 5, 1)), boxes((0, 0, 4, 4, 0)))
    assert [(one.images[0], one.note) for one in said["boxes_tiny"].cases] == [
        ("train-001", "a [0, 0, 4, 4]"),
        ("train-000", "b [0, 0, 5, 5]"),
    ]


def test_an_image_with_more_boxes_than_are_answered_is_crowded():
    said = found(boxes(*[LARGE] * 4), boxes(*[LARGE] * 3), None, task={"max_boxes": 3})
    assert said["images_crowded"].told.startswith("1 of 2 images is crowded")
    assert [(one.images[0], one.note) for one in said["images_crowded"].cases] == [("train-000", "4 boxes")]


def test_sizes_are_told_as_quantiles():
    said = found(boxes(LARGE, (0, 0, 40, 40, 1)), boxes(), None)["box_sizes"]
    assert said.told.startswith("2 boxes of things on 2 labelled images, half of them smaller than ")
    figures = said.figures
    assert figures["images_without_boxes"] == 1
    assert (figures["boxes_an_image"]["0"], figures["boxes_an_image"]["1"]) == (0, 2)
    assert figures["side_at_input"]["1"] == 25  # 100 x 50 pixels of 200 x 100, at 50 x 50
    assert figures["aspect"] == pytest.approx(figures["aspect"] | {"0": 0.5, "1": 1.0})
    assert figures["share_of_image"]["1"] == 0.25
    assert figures["side_at_input_by_class"]["b"]["0.5"] == pytest.approx((10 * 20) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("labels", [(None, None), (boxes(), None)])
def test_nothing_is_said_where_there_is_no_box(labels):
    assert found(*labels) == {}
