"""Outcome: what a job came to, and whether it is worth another try."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MENDABLE, INTERRUPTED = 2, 130
"""Exit codes of `thaw` itself: what a user can mend, and an interrupt."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
        job: its submission id.
        status: as Ray calls it: SUCCEEDED, FAILED or STOPPED.
        code: exit code of its driver; None where the driver had no time to exit.
        result: lines that it printed as its result.
        message: what Ray says of its end.
    """

    job: str
    status: str
    code: int | None
    result: Sequence[str]
    message: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code to pass on; of a driver that a signal ended, as a shell has it."""
        if self.status == "SUCCEEDED":
            return 0
        if self.status == "STOPPED":
            return INTERRUPTED
        if self.code is None or self.code == 0:
            return 1
        return self.code if self.code > 0 else 128 - self.code

    @property
    def is_worth_another_try(self) -> bool:
        """Whether chance ended it: not the user, nor what a user can mend, nor a result that is not good enough."""
        return self.status == "FAILED" and self.code != MENDABLE and not self.result

    def values(self) -> dict[str, Any]:
        """Return its result as plain data, where the job was asked for JSON."""
        try:
            told = json.loads("\n".join(self.result))
        except ValueError:
            return {"lines": list(self.result)}
        return told if isinstance(told, dict) else {"lines": list(self.result)}
