"""A range says where in it a value lies, in the way in which it is drawn."""

import pytest

from thaw.tuning.report.range import Range


@pytest.mark.parametrize(
    ("range_", "value", "share"),
    [
        (Range("float", 1, 3), 2, 0.5),
        (Range("log", 1e-4, 1e-2), 1e-3, 0.5),
        (Range("int", 0, 4), 4, 1.0),
        (Range("int", 3, 3), 3, 0.5),
        (Range("choice", choices=("a", "b")), "b", 0.75),
        (Range("choice", choices=(None, {"x": 1})), {"x": 1}, 0.75),
        (Range("float", 1, 3), 4, None),
        (Range("float", 1, 3), "2", None),
        (Range("int", 0, 1), True, None),
        (Range("choice", choices=(1, 0)), True, None),
    ],
)
def test_a_value_lies_at_a_share_of_its_range_or_outside(range_: Range, value: object, share: float | None) -> None:
    found = range_.share(value)
    assert found == (share if share is None else pytest.approx(share))


@pytest.mark.parametrize("range_", [Range("float", 1, 3), Range("log", 1e-4, 1e-2)])
def test_the_value_at_a_share_lies_there(range_: Range) -> None:
    assert range_.share(range_.at(0.3)) == pytest.approx(0.3)
