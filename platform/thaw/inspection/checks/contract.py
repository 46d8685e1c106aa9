"""What a check is: a module with one function, ``check``, that yields what it found.

A check computes from what was gathered (see thaw.inspection.material) and opens no image itself, so it runs and is
tested without a cluster.
"""

from collections.abc import Iterator
from typing import Protocol

from thaw.inspection.finding import Finding
from thaw.inspection.material import Material


class Check(Protocol):
    """A module in this folder."""

    @staticmethod
    def check(material: Material) -> Iterator[Finding]:
        """Yield what is found, gates first; nothing where all is well or the material has nothing to go by."""
        ...
