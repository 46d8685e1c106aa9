"""What all checks of a cluster came to: the table for a person, and the same as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from thaw import catalog
from thaw.doctor.finding import Finding
from thaw.doctor.material import Material

FOLDER = "doctor.checks"
ORDER = (
    "nodes", "versions", "clock", "ports", "auth", "disk", "object_store", "gpus", "storage", "weights", "exchange",
    "training",
)  # fmt: skip
"""The quick and the telling first; what is in the folder and not here comes last."""


def findings(material: Material) -> dict[str, Finding]:
    """Return what each check came to, by its name."""
    names = sorted(catalog.names(FOLDER), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: catalog.part(FOLDER, name).check(material) for name in names}


def failed(found: Mapping[str, Finding]) -> list[str]:
    """Return the names of the checks that failed."""
    return [name for name, one in found.items() if one.state == "failed"]


def lines(found: Mapping[str, Finding]) -> Sequence[str]:
    """Return a line for each check, and under those that found something what to do."""
    told = []
    for name, one in found.items():
        told.append(f"{one.state:8} {name:13}{one.what}")
        if one.advice:
            told.append(f"{'':22}{one.advice}")
    bad = failed(found)
    told.append(f"{len(bad)} of {len(found)} checks failed: {', '.join(bad)}" if bad else "nothing is wrong")
    return told


def values(found: Mapping[str, Finding]) -> dict[str, Any]:
    """Return the same as plain data."""
    checks = {
        name: {"state": one.state, "what": one.what, "advice": one.advice, **one.values} for name, one in found.items()
    }
    return {"failed": failed(found), "checks": checks}
