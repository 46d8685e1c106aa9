"""Range: the values that one dimension of a sweep may take, as far as its report needs to know them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind = Literal["choice", "int", "float", "log"]
"""log: a float drawn evenly by its logarithm."""


@dataclass(frozen=True)
class Range:
    """What a dimension is drawn from."""

    kind: Kind
    low: float = 0.0
    """The least value; unused for a choice."""
    high: float = 0.0
    """The greatest value, itself allowed; unused for a choice."""
    choices: tuple[Any, ...] = ()
    """What a choice is made from: values that JSON has."""

    def index(self, value: Any) -> int | None:
        """Return which choice a value is; None where it is none of them. True is not taken for 1."""
        texts = [json.dumps(choice, sort_keys=True, default=str) for choice in self.choices]
        text = json.dumps(value, sort_keys=True, default=str)
        return texts.index(text) if text in texts else None

    def share(self, value: Any) -> float | None:
        """Return where in the range a value lies, from 0 to 1; None where it is outside."""
        if self.kind == "choice":
            index = self.index(value)
            return None if index is None else (index + 0.5) / len(self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        if self.low == self.high:
            return 0.5
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def at(self, share: float) -> float:
        """Return the value that lies at a share of the way from low to high; not for a choice."""
        if self.kind == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


Ranges: TypeAlias = Mapping[str, Range]
"""Dotted place in the experiment -> what was drawn from there, in the order of the space."""
