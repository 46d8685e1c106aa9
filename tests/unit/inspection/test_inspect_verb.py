"""The verb ends with 1 where a gate fails that nobody let through, and tells the gravest first."""

import made_up as made

from thaw.inspection.finding import Finding
from thaw.inspection.inspection import Inspection
from thaw.inspection.on_ray import Inspected
from thaw.verbs import inspect
from thaw.verbs.contract import Result

FINDINGS = [
    made.finding("dark", "note"),
    made.finding("dark", "note"),
    made.finding("copies"),
    made.finding("leaks", "gate"),
]


def result(*allowed: str, findings: list[Finding] = FINDINGS) -> Result:
    found = Inspection.of(made.PREPARED, findings, allowed, ["drift"], "--no-vectors")
    return inspect.result(Inspected(found, "datasets/made/report.html"), "/store/datasets/made/report.html")


def test_a_gate_that_fails_ends_with_1_and_one_that_is_let_through_with_0() -> None:
    assert result().code == 1
    assert result("leaks").code == 0
    assert result("copies").code == 1
    assert result(findings=FINDINGS[:3]).code == 0


def test_gates_come_first_with_what_to_do_and_notes_by_name_alone() -> None:
    lines = list(result().lines)
    kinds = [line.split(" ")[0] for line in lines[1:]]
    assert kinds == ["gate", "", "warning", "notes", "passed", "report"]
    assert "Mend them." in lines[2]
    assert lines[4] == "notes     2: dark"
    assert lines[-1] == "report    /store/datasets/made/report.html"
    assert "leaks (let through)" in "".join(result("leaks").lines)


def test_json_has_the_inspection_and_where_its_page_lies() -> None:
    values = dict(result().values)
    assert values.pop("report") == "datasets/made/report.html"
    assert Inspection.model_validate(values).failed == ("leaks",)
