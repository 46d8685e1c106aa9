"""Numbers of things, times and long names are written short."""

import pytest

from thaw.page.wording import count, cut, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.7, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (4312, "1 h 12 min"), (7199, "2 h")],
)
def test_a_time_is_said_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_long_text_loses_its_middle() -> None:
    assert cut("abcdefghij", 5) == "ab…ij"
    assert cut("abcde", 5) == "abcde"


def test_one_thing_is_one_thing() -> None:
    assert (count(1, "image"), count(0, "image"), count(1200, "image")) == ("1 image", "0 images", "1,200 images")
