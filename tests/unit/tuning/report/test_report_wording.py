"""Values and scores are written short, and names as short as they stay apart."""

import pytest
import yaml

from thaw.tuning.report import wording
from thaw.tuning.report.overrides import overrides, quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (0.00123456, "0.00123"), (3, "3"), (None, "null"), (True, "true"), ("a b", "a b"), ([1], "[1]")],
)
def test_a_value_is_short(value: object, text: str) -> None:
    assert wording.value(value) == text


def test_names_are_the_shortest_endings_that_no_other_shares() -> None:
    assert wording.short(["a.b.c.x", "a.d.c.x", "a.e.y", "z", "c.x"]) == {
        "a.b.c.x": "b.c.x",
        "a.d.c.x": "d.c.x",
        "a.e.y": "e.y",
        "z": "z",
        "c.x": "c.x",
    }


@pytest.mark.parametrize("value", [1e-5, 3, None, True, "true", "1e-5", "it's", [1, "a: b"], {"type": "sgd"}])
def test_an_override_is_read_back_as_the_value_that_it_was(value: object) -> None:
    place, _, text = overrides({"train.x": value})[0].partition("=")
    assert (place, yaml.safe_load(text)) == ("train.x", value)


def test_what_is_quoted_for_a_shell_is_one_override_a_line() -> None:
    assert quoted({"train.batch": 3, "finetune.phases[1].depth": 2}) == "train.batch=3 \\\n'finetune.phases[1].depth=2'"
