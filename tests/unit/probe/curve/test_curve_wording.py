"""A person is told where a curve is and leads, what a target takes, and when that cannot be told."""

import landscape
import pytest

from thaw.probe.curve import wording
from thaw.probe.curve.reach import Reach
from thaw.probe.curve.result import Result
from thaw.probe.curve.target import ClassReach

NEEDED = Reach(verdict="needed", images=3000, low=2000, high=5000)
CLASSES = {
    "oat": ClassReach(have=900, val=180, share=2700, recall=0.85),
    "rye": ClassReach(have=100, val=20, share=300),
    "spelt": ClassReach(have=0, val=0, share=0),
}


def taken(reach: Reach) -> str:
    curve = landscape.curve(reach, CLASSES)
    assert curve.target is not None
    return wording.taken(curve, curve.target)


def test_it_says_where_the_curve_is_and_where_it_leads_with_bands() -> None:
    told = wording.expected(landscape.curve())
    assert told.startswith("accuracy 0.800 with 1,000 training images, on 200 validation images;")
    assert "twice as many 0.830 (0.790 to 0.850)" in told
    assert "10 times as many 0.870 (0.830 to 0.890)" in told


def test_a_target_that_takes_more_images_says_how_many_also_of_each_class_that_there_is() -> None:
    assert taken(NEEDED) == (
        "accuracy 0.900 takes about 3,000 images (2,000 to 5,000): 1,500 of each class on average; "
        "there are 1,000 in all."
    )


def test_a_target_that_is_reached_says_with_how_many() -> None:
    reached = taken(Reach(verdict="reached", images=500, low=300, high=700))
    assert reached.startswith("accuracy 0.900 is reached with about 500 images (300 to 700), of the 1,000 there are")
    few = taken(Reach(verdict="reached", images=80, low=40, high=100))
    assert few == "accuracy 0.900 is reached with 100 images, the fewest that were tried."


@pytest.mark.parametrize(
    ("reach", "said"),
    [
        (Reach(verdict="unsure", images=4000, low=2000, high=None), "about 4,000 images, at least 2,000"),
        (Reach(verdict="unsure", images=50, low=20, high=None), "few images, at least 20"),
    ],
)
def test_where_no_upper_bound_is_known_this_is_said_and_what_would_help(reach: Reach, said: str) -> None:
    told = taken(reach)
    assert f"takes {said}, and how many at most cannot be told" in told
    assert "More validation images than 200" in told


def test_what_no_number_of_images_comes_to_asks_for_something_else_than_images() -> None:
    told = taken(Reach(verdict="beyond", images=None, low=None, high=None))
    assert "probably beyond these features" in told
    assert "10 times the 1,000 images there are" in told


def test_classes_that_lack_images_and_those_that_are_behind_are_named() -> None:
    target = landscape.curve(NEEDED, CLASSES).target
    assert target is not None
    lacking, behind = wording.by_class(target)
    assert lacking == "most lacking: oat 900 of 2,700, rye 100 of 300"
    assert behind == "furthest behind: oat, recall 0.850"


@pytest.mark.parametrize(
    ("reach", "cell"),
    [
        (NEEDED, "3,000 (2,000 to 5,000)"),
        (Reach(verdict="unsure", images=3000, low=2000, high=None), "3,000 (2,000 to ?)"),
        (Reach(verdict="beyond", images=None, low=2000, high=None), "more than 2,000"),
        (Reach(verdict="beyond", images=None, low=None, high=None), "beyond"),
    ],
)
def test_a_cell_has_the_number_and_its_band(reach: Reach, cell: str) -> None:
    assert wording.images(reach) == cell


def test_lines_name_every_task_and_why_one_has_no_curve() -> None:
    result = Result(
        dataset="datasets/made-0",
        backbone="small",
        image_size=64,
        curves=(landscape.curve(NEEDED, CLASSES), landscape.curve(task="tags")),
        left_out={"spots": "it has boxes"},
    )
    lines = list(wording.lines(result))
    assert [line.split(":")[0] for line in lines if ":" in line and not line.startswith(" ")] == [
        "kind",
        "tags",
        "spots",
    ]
    assert "spots: no curve: it has boxes" in lines
    assert lines[-1] == wording.PROXY
