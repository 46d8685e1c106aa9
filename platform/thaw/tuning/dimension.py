"""Dimension: what one setting of an experiment may be in a search, and when it is drawn at all.

Which setting it is, and what else there is to draw, is the space's to say.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from thaw import catalog
from thaw.config.parts import Section

Kind = Literal["choice", "int", "float", "log"]

ALL = "all"
"""Upper end of an int: the number of layer groups of the backbone."""

_KINDS: tuple[Kind, ...] = ("choice", "int", "float", "log")
_NEEDS: dict[str, str] = {
    "choice": "choice needs a list of one or more different values",
    "int": "int needs [low, high], two whole numbers of which high may be all",
    "float": "float needs [low, high], two numbers",
    "log": "log needs [low, high], two numbers above 0",
}
_GRID_POINTS = 3
"""How many values of a float or log a grid takes where ``steps`` is left out: both ends and the middle."""


class Dimension(Section):
    """One of choice, int, float and log, as in ``{log: [1.0e-4, 1.0e-2], when: {model.backbone: resnet18}}``."""

    kind: Kind
    """choice: one of the values. int and float: between two ends. log: between two ends, each order of magnitude as
    likely as the next."""
    values: tuple[Any, ...]
    """Those of a choice, plain values of any kind; else the two ends, both included."""
    steps: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """How many values of a range a grid takes; left out: every int, and both ends and the middle of float and log."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Places of other dimensions -> the value, a list of values, or ``{above: x, below: y}``: the dimension is drawn
    only where all of them were drawn and hold."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:  # in place of Section's: what is written is {kind: values}
        if isinstance(values, Dimension):
            return values
        if not isinstance(values, Mapping):
            raise _mistake(f"needs a mapping such as {{float: [0, 1]}}, with one of {', '.join(_KINDS)}")
        allowed = (*_KINDS, "steps", "when")
        for key in values:
            if key not in allowed:
                hint = catalog.did_you_mean(str(key), allowed)
                raise _mistake(f"unknown key {key!r}; known here: {', '.join(allowed)}{hint}")
        return _with_kind(values)

    @model_serializer(mode="plain")
    def _as_written(self) -> dict[str, Any]:
        more = {"steps": self.steps} if self.steps is not None else {}
        return {self.kind: list(self.values), **more, **({"when": self.when} if self.when else {})}

    @property
    def is_open(self) -> bool:
        """Whether the upper end is still ``all``."""
        return self.kind == "int" and self.values[1] == ALL

    def at(self, share: float) -> Any:
        """Return the value at a share, in [0, 1), of the dimension: equal shares are equally likely."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        low, high = self.values
        if self.kind == "int":
            return low + int(share * (high - low + 1))
        return self._along(share)

    def every(self) -> Sequence[Any] | None:
        """Return all its values; None of a float or log, which have no end of them."""
        if self.kind == "choice":
            return self.values
        return range(self.values[0], self.values[1] + 1) if self.kind == "int" else None

    def points(self) -> Sequence[Any]:
        """Return the values that a grid takes, each once, from the lower end up or as a choice names them."""
        every = self.every()
        if every is not None and (self.steps is None or self.steps >= len(every)):
            return every
        steps = self.steps or _GRID_POINTS
        along = [self._along(step / (steps - 1)) for step in range(steps)]
        return tuple(dict.fromkeys(round(one) for one in along) if self.kind == "int" else along)

    def holds(self, value: Any) -> bool:
        """Return whether it can take this value."""
        if self.kind == "choice":
            return value in self.values
        whole = isinstance(value, int) or (isinstance(value, float) and self.kind != "int")
        return whole and not isinstance(value, bool) and bool(self.values[0] <= value <= self.values[1])

    def _along(self, share: float) -> float:
        low, high = float(self.values[0]), float(self.values[1])
        if self.kind == "log":
            along = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            along = low + share * (high - low)
        along = low if share == 0 else high if share == 1 else along  # to the bit
        return min(high, max(low, along))


def _with_kind(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that ``{kind: values, ...}`` stands for."""
    kinds = [kind for kind in _KINDS if kind in written]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise _mistake(f"needs exactly one of {', '.join(_KINDS)}; found {found}")
    kind = kinds[0]
    if kind == "choice" and "steps" in written:
        raise _mistake("steps: a grid takes every value of a choice; leave steps out")
    values = _choice(written[kind]) if kind == "choice" else _range(kind, written[kind])
    more = {key: written[key] for key in ("steps", "when") if key in written}
    return {"kind": kind, "values": values, **more}


def _choice(given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise _mistake(_NEEDS["choice"], given)
    for place, value in enumerate(given):
        if value in given[:place]:
            raise _mistake(f"choice names {value!r} twice; {_NEEDS['choice']}")
    return tuple(given)


def _range(kind: Kind, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise _mistake(_NEEDS[kind], given)
    low, high = (_number(kind, value, place) for place, value in enumerate(given))
    if low is None or high is None or (kind == "log" and low <= 0):
        raise _mistake(_NEEDS[kind], given)
    if high != ALL and low >= high:
        raise _mistake(f"{kind}: low {low} must be below high {high}; swap them, or leave the dimension out")
    return low, high


def _number(kind: Kind, value: Any, place: int) -> Any:
    """Return one end of a range, or None where it cannot be one."""
    if kind == "int":
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole or (value == ALL and place == 1) else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)  # to YAML, 1e-4 without a point is a string
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _mistake(reason: str, *got: Any) -> PydanticCustomError:
    shown = f"; got {got[0]!r}" if got else ""
    return PydanticCustomError("dimension", "{reason}", {"reason": f"{reason}{shown}"})
