"""Every check says which gates it has and whether it needs vectors; gates are let through by name, and no other way."""

from pathlib import Path

import pytest

from planted_checks import plant
from thaw import catalog
from thaw.errors import ConfigError
from thaw.inspection import checking
from thaw.inspection.checks.contract import Check


@pytest.mark.parametrize("name", catalog.names("inspection.checks"))
def test_every_check_keeps_the_contract(name: str) -> None:
    module = catalog.part("inspection.checks", name)
    assert all(isinstance(gate, str) and gate for gate in module.GATES)
    assert isinstance(module.NEEDS_VECTORS, bool)
    assert callable(module.check)
    assert module.__doc__
    assert Check.__doc__


def test_gates_of_different_checks_have_different_names() -> None:
    gates = [gate for name in checking.names() for gate in checking.gates(name)]
    assert len(gates) == len(set(gates))


def test_a_gate_that_does_not_exist_is_refused_with_the_nearest_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, tmp_path)
    plant(monkeypatch, tmp_path, word="blue")
    checking.refuse_unknown(("too_odd", "too_blue"), "data.allow")
    with pytest.raises(ConfigError) as caught:
        checking.refuse_unknown(("too_odd", "too_blu"), "data.allow")
    told = "data.allow: 'too_blu' is not a gate; there are too_blue, too_odd; did you mean 'too_blue'?"
    assert str(caught.value) == told


def test_a_gate_that_nobody_could_let_through_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, tmp_path)
    file = tmp_path / "inspection" / "planted" / "odd.py"
    file.write_text(file.read_text().replace('GATES = ("too_odd",)', "GATES = ()"))

    class Material:
        ids = ("a",)

    with pytest.raises(RuntimeError, match="finds gate too_odd, which is not among its GATES"):
        checking.run("odd", Material())  # type: ignore[arg-type] # all that the planted check looks at
