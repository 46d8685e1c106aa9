"""Told: sentences agree with their numbers, and the worst images are shown first."""

import numpy as np
import pytest

from material import images, material
from thaw.inspection.finding import SHOWN
from thaw.inspection.told import are, named, set_aside, worst


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 of 1,200 images are"), (1, "1 of 1,200 images is"), (2, "2 of 1,200 images are")]
)
def test_one_is_and_others_are(count, told):
    assert are(count, 1200) == told


def test_no_more_than_a_few_names_are_told():
    assert named("abcde") == "a, b, c, d, e"
    assert named("abcdefg") == "a, b, c, d, e and 2 more"


def test_the_worst_of_the_chosen_come_first_and_not_all_are_shown():
    by = np.arange(100.0)
    ids = [f"i{place}" for place in range(100)]
    found = worst(ids, by % 2 == 0, by, lambda row: f"row {row}")
    assert [one.images for one in found[:2]] == [("i98",), ("i96",)]
    assert (found[0].note, found[0].score) == ("row 98", 98.0)
    assert len(found) == SHOWN


def test_what_was_set_aside_is_told_by_reason_with_its_details():
    made = material(images(1), rejected=[("a.jpg", "empty"), ("b.jpg", "other"), ("c.jpg", "empty"), ("d", "box_bad")])
    words = {"empty": ("no bytes", "Copy."), "box_bad": ("bad", "Mend."), "corrupt": ("broken", "Copy.")}
    empty, box = set_aside(made, words, "box", ("box", "boxes"))
    assert (empty.name, empty.count, empty.told) == ("box_empty", 2, "2 boxes are set aside: no bytes.")
    assert [(one.images, one.note) for one in empty.cases] == [(("a.jpg",), "a.jpg empty"), (("c.jpg",), "c.jpg empty")]
    assert (box.name, box.told, box.advice) == ("box_bad", "1 box is set aside: bad.", "Mend.")
