"""What a verb is: a module that says which arguments it takes, and runs.

Verbs only translate: what they call can be called without them. Nothing heavy is imported before one runs, so that
`thaw --help` is instant.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Result:
    """What a verb came to.

    Attributes:
        values: plain values, for ``--json``.
        lines: the same for a person.
        code: the exit code; 1 where the verb did its work and what it found is not good enough.
    """

    values: Mapping[str, Any]
    lines: Sequence[str]
    code: int = 0


class Verb(Protocol):
    """A module in this folder; - in the verb's name is _ in the file's."""

    STEP: int
    """Which of the seven steps it belongs to; 0: to all of them."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Say which arguments it takes; ``--json`` is every verb's."""
        ...

    @staticmethod
    def run(options: argparse.Namespace) -> Result:
        """Do it.

        Raises:
            ThawError: the user can mend it.
        """
        ...
