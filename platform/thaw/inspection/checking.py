"""Checking: the checks there are, what each may find, and one of them run."""

from typing import cast

from thaw import catalog
from thaw.errors import ConfigError
from thaw.inspection.checks.contract import Check
from thaw.inspection.finding import Finding
from thaw.inspection.material import Material

CHECKS = "inspection.checks"


def names() -> tuple[str, ...]:
    """Return the names of all checks."""
    return catalog.names(CHECKS)


def needs_vectors(name: str) -> bool:
    """Return whether a check finds nothing without vectors."""
    return _check(name).NEEDS_VECTORS


def gates(name: str) -> tuple[str, ...]:
    """Return the names of the gates that a check may find failed."""
    return _check(name).GATES


def run(name: str, material: Material) -> tuple[Finding, ...]:
    """Return what a check finds.

    Raises:
        RuntimeError: it finds a gate that it does not declare, so that nobody could let it through.
    """
    found = tuple(_check(name).check(material))
    for one in found:
        if one.level == "gate" and one.name not in gates(name):
            raise RuntimeError(f"check {name} finds gate {one.name}, which is not among its GATES {gates(name)}")
    return found


def refuse_unknown(allowed: tuple[str, ...], place: str) -> None:
    """Refuse names of gates that do not exist.

    Args:
        place: where they were given, such as ``data.allow``.

    Raises:
        ConfigError: one does not; the message has the nearest that does.
    """
    known = sorted({gate for name in names() for gate in gates(name)}) if allowed else []
    for one in allowed:
        if one not in known:
            hint = catalog.did_you_mean(one, known)
            raise ConfigError(f"{place}: {one!r} is not a gate; there are {', '.join(known) or 'none'}{hint}")


def _check(name: str) -> Check:
    return cast(Check, catalog.part(CHECKS, name))
