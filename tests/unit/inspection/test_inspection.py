"""An inspection says which gates fail and which were let through, the gravest first, and comes back from JSON."""

import json

import made_up as made
import pytest

from thaw.inspection.finding import Case
from thaw.inspection.inspection import Inspection

FINDINGS = [
    made.finding("dark", "note", figures={"train": {"a": 1}}),
    made.finding("copies", "warning", cases=[Case(images=("x", "y"), boxes=((0, 1, 2, 3),), score=0.5, note="both")]),
    made.finding("leaks", "gate"),
    made.finding("absent", "gate", task="kind"),
    made.finding("absent", "gate", task="spots"),
]


def test_gates_come_first_and_each_fails_once_by_its_name() -> None:
    found = Inspection.of(made.PREPARED, FINDINGS)
    assert [one.level for one in found.findings] == ["gate", "gate", "gate", "warning", "note"]
    assert found.failed == ("leaks", "absent")
    assert found.let_through == ()
    assert found.sentence.startswith("2 gates fail on 10 images")


def test_what_is_let_through_does_not_fail_and_is_told() -> None:
    found = Inspection.of(made.PREPARED, FINDINGS, ["absent", "leaks", "unheard"])
    assert (found.failed, found.let_through) == ((), ("leaks", "absent"))
    assert "1 thing is worth mending; let through by name: leaks, absent" in found.sentence
    assert Inspection.of(made.PREPARED, FINDINGS, ["absent"]).sentence.startswith("1 gate fails")
    assert "nothing else" in Inspection.of(made.PREPARED, []).sentence


def test_it_comes_back_from_json_as_it_was() -> None:
    found = Inspection.of(made.PREPARED, FINDINGS, ["absent"], ["drift"], "--no-vectors")
    assert Inspection.model_validate(json.loads(json.dumps(found.model_dump(mode="json")))) == found


@pytest.mark.parametrize("what", ["images", "listed", "set_aside", "labelled", "classes"])
def test_what_preparing_found_is_in_it(what: str) -> None:
    report = made.PREPARED.report
    expected = {
        "images": {"train": 8, "val": 2, "test": 0},
        "listed": 12,
        "set_aside": {"truncated": 2, "box_outside": 1},
        "labelled": report.labelled,
        "classes": report.classes,
    }
    assert getattr(Inspection.of(made.PREPARED, []), what) == expected[what]
