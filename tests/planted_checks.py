"""Checks of the tests' own, in place of the real ones: each finds a gate and a warning in whatever it is given."""

import importlib
import sys
from pathlib import Path

import pytest

import thaw
from thaw import inspection
from thaw.inspection import checking

CHECK = """
from thaw.inspection.finding import Case, Finding

GATES = ("too_{word}",)
NEEDS_VECTORS = {needs}


def check(material):
    ids = material.ids
    yield Finding(
        name="too_{word}", level="gate", told=f"1 of {{len(ids)}} images is too {word}.", advice="Mend it.", count=1,
        cases=(Case(images=(ids[0],)),),
    )
    yield Finding(name="rather_{word}", level="warning", told="It is.", advice="Look.", count=1)
"""


def plant(patch: pytest.MonkeyPatch, folder: Path, needs_vectors: bool = False, word: str = "odd") -> str:
    """Make a check one of those there are, beside others that were planted, and return its gate's name."""
    place = folder / "inspection" / "planted"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{word}.py").write_text(CHECK.format(word=word, needs=needs_vectors))
    for package, root in ((thaw, folder), (inspection, folder / "inspection")):
        if str(root) not in package.__path__:
            patch.setattr(package, "__path__", [*package.__path__, str(root)])
    patch.setattr(checking, "CHECKS", "inspection.planted")
    importlib.invalidate_caches()
    for known in [name for name in sys.modules if name.startswith("thaw.inspection.planted")]:
        patch.delitem(sys.modules, known)
    return f"too_{word}"
