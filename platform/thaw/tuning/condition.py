"""Condition: what the value of one dimension must be for another to be drawn.

A value, a list of values, or ``{above: x, below: y}`` for numbers; both of these ends are left out.
"""

import math
from collections.abc import Mapping
from typing import Any

from thaw.tuning.dimension import Dimension

_ENDS = ("above", "below")


def holds(wanted: Any, value: Any) -> bool:
    """Return whether ``value`` is what a condition asks for."""
    if isinstance(wanted, Mapping):
        return bool(wanted.get("above", value - 1) < value < wanted.get("below", value + 1))
    return bool(value in wanted) if isinstance(wanted, list | tuple) else bool(value == wanted)


def example(wanted: Any, dimension: Dimension) -> Any:
    """Return a value of a dimension for which a condition holds; any of its values where there is none."""
    if not isinstance(wanted, Mapping):
        return wanted[0] if isinstance(wanted, list | tuple) else wanted
    low, high = dimension.values[0], dimension.values[-1]
    if dimension.kind == "choice":
        tried = dimension.values
    elif dimension.kind == "int":
        tried = (max(low, math.floor(wanted.get("above", low - 1)) + 1),)
    else:
        tried = (low, (max(low, wanted.get("above", low)) + min(high, wanted.get("below", high))) / 2, high)
    return next((value for value in tried if dimension.holds(value) and holds(wanted, value)), low)


def mistake(wanted: Any, dimension: Dimension) -> str | None:
    """Return why a condition on this dimension can never hold, or cannot be understood; None if it can hold."""
    if isinstance(wanted, Mapping):
        return _mistaken_ends(wanted, dimension)
    if dimension.is_open:
        return None  # told once the number of layer groups is known
    if dimension.kind in ("float", "log"):
        return f"needs {{above: x}} or {{below: x}}, because it is a {dimension.kind}; got {wanted!r}"
    values = wanted if isinstance(wanted, list | tuple) else [wanted]
    never = [value for value in values if not dimension.holds(value)]
    if never or not values:
        return f"never is {never[0] if never else values!r}; it can be {_range(dimension)}"
    return None


def _mistaken_ends(wanted: Mapping[str, Any], dimension: Dimension) -> str | None:
    if not wanted or not set(wanted) <= set(_ENDS) or not all(_is_number(end) for end in wanted.values()):
        return f"needs a value, a list of values, or numbers as in {{above: 0}} or {{below: 4}}; got {dict(wanted)!r}"
    if dimension.kind == "choice" and not all(_is_number(value) for value in dimension.values):
        return f"has values that are no numbers, so list those that are meant; it can be {_range(dimension)}"
    if dimension.is_open or holds(wanted, example(wanted, dimension)):
        return None
    between = " and ".join(f"{end} {wanted[end]}" for end in _ENDS if end in wanted)
    return f"never is {between}; it can be {_range(dimension)}"


def _range(dimension: Dimension) -> str:
    if dimension.kind == "choice":
        return ", ".join(repr(value) for value in dimension.values)
    return f"{dimension.values[0]} to {dimension.values[1]}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
