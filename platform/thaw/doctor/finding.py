"""Finding: what one check of a cluster came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes:
        what: what was found, in one sentence.
        advice: what to do about it; empty where nothing is to be done.
        values: the same in numbers, as plain data.
    """

    state: State
    what: str
    advice: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
