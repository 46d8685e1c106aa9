"""Coverage: shares, specks, and how a mask goes with boxes, counted as a person would."""

import json

import numpy as np
import pyarrow as pa
import pytest

from thaw.data import coverage
from thaw.data.coverage import SPECK, Coverage
from thaw.metrics.masks import IGNORED

NAMES = {0: "floor", 1: "wall", 7: "door"}


def measured(pixels, names=NAMES, **boxes):
    return Coverage.model_validate(coverage.measure(np.array(pixels, np.uint8), names, boxes))


def specks(pixels):
    return {value: int(count) for value, count in enumerate(coverage._specks(pixels)) if count}


def counted_one_by_one(pixels):
    """Return specks by value, found by walking from pixel to pixel."""
    left = {(row, column) for row, column in np.ndindex(pixels.shape)}
    found = {}
    while left:
        row, column = left.pop()
        part, edge = {(row, column)}, [(row, column)]
        while edge:
            row, column = edge.pop()
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            same = {one for one in near if pixels[one] == pixels[row, column]}
            left, part, edge = left - same, part | same, edge + list(same)
        if len(part) <= SPECK:
            value = int(pixels[row, column])
            found[value] = found.get(value, 0) + 1
    return found


def test_shares_are_of_the_whole_image_and_leave_out_what_is_not_shown():
    pixels = np.zeros((10, 10))
    pixels[:3], pixels[9] = 7, IGNORED
    assert measured(pixels).shares == {"floor": 0.6, "door": 0.3}


def test_values_of_one_class_are_one_class():
    pixels = np.zeros((10, 10))
    pixels[4:6, 4:6], pixels[4:6, 6:8] = 1, 2  # together a block of 8, and with a pixel more no speck
    names = {0: "floor", 1: "wall", 2: "wall"}
    assert measured(pixels, names).shares == {"floor": 0.92, "wall": 0.08}
    assert measured(pixels, names).specks == {"wall": 1}
    pixels[5, 8] = 1
    assert measured(pixels, names).specks == {}


def test_255_is_a_class_where_it_is_named():
    assert measured(np.full((2, 2), IGNORED), {0: "x", IGNORED: "y"}).shares == {"y": 1.0}
    assert measured(np.full((2, 2), IGNORED)).shares == {}


@pytest.mark.parametrize("seed", range(12))
def test_specks_are_small_parts_joined_over_edges_and_corners_in_bands_of_any_height(seed, monkeypatch):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 40, 2)
    pixels = random.choice(np.array([0, 1, 2, IGNORED][: 2 + seed % 3], np.uint8), (height, width))
    if seed % 2:
        pixels = np.kron(pixels, np.ones((2, 2), np.uint8))
    wanted = counted_one_by_one(pixels)
    for band in (1, 7 * int(width), 2**20):
        monkeypatch.setattr(coverage, "_BAND", band)
        assert specks(pixels) == wanted


def test_a_long_line_is_no_speck_however_it_winds():
    pixels = np.zeros((60, 60), np.uint8)
    pixels[np.arange(60), np.abs(np.arange(60) % 8 - 4) + 20] = 1
    assert specks(pixels) == counted_one_by_one(pixels) == {}
    pixels[SPECK:] = 0
    assert specks(pixels) == {1: 1}
    pixels[SPECK] = 1  # ends in a row that is too long for one
    assert specks(pixels) == {}


def test_eight_pixels_in_a_row_are_a_speck_and_nine_are_not():
    pixels = np.zeros((3, 30), np.uint8)
    pixels[1, 2 : 2 + SPECK], pixels[1, 15 : 16 + SPECK] = 1, 2
    assert specks(pixels) == {1: 1}


def test_boxes_are_held_against_what_is_below_them():
    pixels = np.zeros((10, 20))
    pixels[2:4, 2:4], pixels[6:8, 12:14] = 1, 7
    boxes = [[0, 0, 5, 5], [10, 5, 15, 10], [15, 0, 20, 4], [16, 1, 18, 3]]
    found = measured(pixels, near=(boxes, ["wall", "wall", "wall", "lamp"])).agreements["near"]
    assert (found.boxes, found.named) == (4, 3)
    assert found.alone == {"floor": 2}
    assert found.missed == {"": 1, "floor": 1}
    outside = 200 - 25 - 25 - 20
    assert found.outside == {"floor": outside / 200}


def test_a_box_covers_every_pixel_that_it_touches():
    pixels = np.zeros((10, 10))
    pixels[3, 3] = 1
    for box, touched in (([3.9, 3.9, 4.5, 4.5], True), ([2, 2, 3.1, 3.1], True), ([1, 1, 3, 3], False)):
        found = measured(pixels, near=([box], ["wall"])).agreements["near"]
        assert ("wall" not in found.outside) is touched
        assert (found.missed == {}) is touched


def test_what_has_no_label_is_neither_below_nor_outside_boxes():
    pixels = np.full((10, 10), IGNORED)
    pixels[0, 0] = 1
    found = measured(pixels, near=([[0, 0, 5, 5], [5, 5, 10, 10]], ["wall", "wall"])).agreements["near"]
    assert found.alone == {"wall": 1}
    assert found.missed == {"": 1}
    assert found.outside == {}


def test_an_image_without_boxes_has_all_outside():
    found = measured(np.ones((2, 2)), near=([], [])).agreements["near"]
    assert (found.boxes, found.outside) == (0, {"wall": 1.0})


def test_coverage_comes_back_out_of_facts_by_task():
    one = coverage.measure(np.ones((2, 2), np.uint8), NAMES, {"near": ([[0, 0, 1, 1]], ["door"])})
    table = pa.table({"coverage": [json.dumps({"walls": one}), "{}", None]})
    [first, *others] = coverage.of(table, "walls")
    assert first == Coverage.model_validate(one)
    assert others == [None, None]
    assert coverage.of(table, "other") == [None, None, None]
