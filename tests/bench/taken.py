"""A bundle as other servers take it: as it is stored, or with its normalisations folded, as Thaw answers with it."""

import os
from pathlib import Path

from thaw import bundle
from thaw.backends import folding
from thaw.bundle import Bundle

ALIKE = "THAW_BENCH_ALIKE"
"""The variable that says that they are folded."""


def taken(folder: Path) -> Bundle:
    """Load it, ready to answer on CPUs."""
    loaded = bundle.load(folder)
    if os.environ.get(ALIKE):
        folding.fold(loaded)
    return loaded
