"""The page shows every curve with its band, asks for nothing from anywhere, and shows text as text."""

import landscape
import pytest

from reading import Reader
from thaw.probe.curve.page import page
from thaw.probe.curve.reach import Reach
from thaw.probe.curve.result import Result
from thaw.probe.curve.target import ClassReach

NEEDED = Reach(verdict="needed", images=3000, low=2000, high=5000)
CLASSES = {
    "oat": ClassReach(have=900, val=180, share=1000, recall=0.85, reach=NEEDED),
    "<b>rye</b>": ClassReach(have=100, val=20, share=2000),
    "spelt": ClassReach(have=50, val=20, share=60),
}
RESULT = Result(
    dataset="datasets/made-0",
    backbone="small",
    image_size=64,
    curves=(landscape.curve(NEEDED, CLASSES), landscape.curve(task="tags")),
    left_out={"spots": "it has <boxes>"},
)


@pytest.fixture(scope="module")
def text() -> str:
    return page("made <up>", RESULT)


@pytest.fixture(scope="module")
def read(text: str) -> Reader:
    return Reader(text)


def test_every_tag_closes_and_names_are_text(read: Reader) -> None:
    assert read.open == []
    assert "b" not in read.tags
    for shown in ("made <up>", "<b>rye</b>", "it has <boxes>"):
        assert shown in read.text


def test_every_task_is_told(read: Reader) -> None:
    assert "takes about 3,000 images (2,000 to 5,000)" in read.text
    assert "kind: accuracy by training images" in read.text
    assert "tags: accuracy by training images" in read.text
    assert "No curve: it has <boxes>." in read.text


def test_classes_that_lack_most_come_first(read: Reader) -> None:
    assert read.rows[1:] == [
        ["<b>rye</b>", "100", "2,000", "-", "-"],
        ["oat", "900", "1,000", "0.850", "3,000 (2,000 to 5,000)"],
        ["spelt", "50", "60", "-", "-"],
    ]


def test_drawings_show_the_target_where_there_is_one(text: str) -> None:
    first, second = text.split("<svg")[1:]
    assert ">target<" in first
    assert ">target<" not in second.split("</svg>")[0]


def test_nothing_is_asked_for_from_elsewhere(text: str) -> None:
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for word in ("http:", "https:", "@import", "url(/", "<link"):
        assert word not in text
