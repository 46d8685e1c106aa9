"""What a check of a cluster is: a module with one function, ``check``, that judges what was seen.

It asks no node itself, so it runs and is tested without a cluster.
"""

from typing import Protocol

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material


class Check(Protocol):
    """A module in this folder."""

    @staticmethod
    def check(material: Material) -> Finding:
        """Judge what was seen of a cluster, nodes being named where they are at fault."""
        ...
