"""Masks: specks and empty masks are told, and which class is nothing is known by its name or by the experiment."""

import numpy as np
import pytest

from material import images, material
from thaw.inspection.checks import masks as check

NAMES = ("background", "rust", "crack")


def found(*labels, names=NAMES, rejected=(), **options):
    """Return what is found of images with these masks, by name."""
    made = material(
        images(len(labels)),
        {"area": {"type": "segmentation", **options}},
        {"area": names},
        labels={"area": labels},
        rejected=rejected,
    )
    return {one.name: one for one in check.check(made)}


def speckled(count):
    """Return a mask with a block of rust and so many specks of crack."""
    mask = np.zeros((60, 60), np.uint8)
    mask[:20, :20] = 1
    mask[[30 + 4 * (place // 10) for place in range(count)], [4 * (place % 10) for place in range(count)]] = 2
    return mask


@pytest.mark.parametrize("reason", check._SET_ASIDE)
def test_masks_that_were_set_aside_are_told_by_reason(reason):
    assert found(rejected=[("a.jpg", reason), ("b.jpg", "box_outside")])[reason].told.startswith("1 mask is set aside")


def test_specks_are_told_from_ten_in_a_mask_on():
    assert "masks_speckled" not in found(speckled(9), speckled(0))
    said = found(speckled(10), speckled(30), speckled(0), speckled(0), None)["masks_speckled"]
    assert (said.level, said.count) == ("warning", 2)
    assert said.told.startswith("2 of 4 masks are speckled for area")
    assert [(one.images[0], one.note) for one in said.cases] == [("train-001", "30 specks"), ("train-000", "10 specks")]
    assert said.figures["specks"] == {"crack": 40}


def test_where_most_masks_have_specks_they_may_be_meant():
    assert found(speckled(10), speckled(12), speckled(0))["masks_speckled"].level == "note"


EMPTY = np.zeros((4, 4), np.uint8)


def test_masks_of_background_alone_are_empty():
    said = found(EMPTY, speckled(0), None, np.full((4, 4), 1, np.uint8))["masks_empty"]
    assert (said.level, said.count, said.cases[0].images) == ("note", 1, ("train-000",))
    assert said.told == "1 of 3 masks is empty for area, with background alone."


@pytest.mark.parametrize(
    ("names", "options", "empty"),
    [
        (("_background_", "rust"), {}, True),
        (("Background", "rust"), {}, True),
        (("floor", "rust"), {}, False),
        (("floor", "rust"), {"background": "floor"}, True),
        (("background", "rust"), {"background": "rust"}, False),
    ],
)
def test_what_is_background_is_known_by_name_or_said(names, options, empty):
    assert ("masks_empty" in found(EMPTY, names=names, **options)) is empty


def test_shares_of_pixels_are_told_with_the_rarest_class():
    half = np.full((4, 4), 1, np.uint8)
    half[:2] = 255
    said = found(half, EMPTY)["mask_shares"]
    assert said.told == "crack is the rarest class of area: 0.0% of the pixels of 2 masks."
    assert said.figures == {"shares": {"background": 0.5, "rust": 0.25, "crack": 0.0}, "without_label": 0.25}


def test_nothing_is_said_where_no_image_has_a_mask():
    assert found(None, None) == {}
