"""Listings: everything that a source says comes back, in an order that has nothing to do with how it lists."""

import math
import random

import pytest

from thaw.data.listing import key, listed, references
from thaw.data.sources.contract import RawBoxes, RawMask, Reference, UnreadBoxes

LABELS = {
    "class": "cat",
    "number-like": "7",
    "set": ("a", "b"),
    "empty": (),
    "boxes": RawBoxes(((0.1, 1.0, 2.5, 1e-9), (0.0, 0.0, math.inf, 1.0)), ("a", "b")),
    "no boxes": RawBoxes((), ()),
    "unread": UnreadBoxes("labels/a.txt"),
    "mask": RawMask("a.png", {0: "background", 7: "scratch"}),
    "none": None,
}


@pytest.mark.parametrize("column", LABELS)
def test_a_label_of_every_kind_comes_back_as_it_was(column):
    one = Reference("a.jpg", {column: LABELS[column]}, "val", "group 1")
    assert list(references(listed([one], [column]))) == [one]


def test_a_corner_that_is_no_number_comes_back_as_one():
    one = Reference("a.jpg", {"boxes": RawBoxes(((math.nan, 0.0, 1.0, 1.0),), ("a",))})
    [found] = references(listed([one], ["boxes"]))
    assert math.isnan(found.labels["boxes"].boxes[0][0])


def test_columns_that_no_task_reads_are_left_out():
    [found] = references(listed([Reference("a.jpg", {"kind": "cat", "other": "x"})], ["kind"]))
    assert found.labels == {"kind": "cat"}


@pytest.mark.parametrize("seed", range(6))
def test_the_order_is_that_of_the_keys_however_a_source_lists(seed):
    some = [Reference(f"{index}.jpg", {"kind": "cat"}) for index in range(100)]
    shuffled = random.Random(seed).sample(some, len(some))
    assert listed(shuffled, ["kind"]).equals(listed(some, ["kind"]))
    assert [one.id for one in references(listed(some, ["kind"]))] == sorted((one.id for one in some), key=key)


def test_an_image_that_is_listed_twice_stays_in_the_order_of_its_listing():
    some = [Reference("a.jpg", {"kind": kind}) for kind in ("first", "second", "third")]
    assert [one.labels["kind"] for one in references(listed(some, ["kind"]))] == ["first", "second", "third"]


def test_nothing_listed_is_an_empty_listing():
    assert len(listed([], ["kind"])) == 0
