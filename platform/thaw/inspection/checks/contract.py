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

    GATES: tuple[str, ...]
    """Names of the findings of level gate that it may yield: what ``data.allow`` and ``--allow`` may say. A check that
    has some and does without vectors also runs before each training, so it should be quick."""
    NEEDS_VECTORS: bool
    """Whether it finds nothing without vectors."""

    @staticmethod
    def check(material: Material) -> Iterator[Finding]:
        """Yield what is found, gates first; nothing where all is well or the material has nothing to go by.

        What the material holds is shared with other checks and must not be changed.
        """
        ...
