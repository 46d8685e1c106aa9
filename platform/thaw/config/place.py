"""Place: where a setting stands in nested mappings and lists, such as ``finetune.phases[1].depth``.

Where alone: whether a setting is known there, and what it may be, is the experiment's to say.
"""

import functools
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any

from thaw.errors import ConfigError

Steps = Sequence[str | int]
"""Keys and list indices, from the outside in."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def steps(place: str) -> list[str | int]:
    """Return the steps of a dotted place; none where it names nothing."""
    return [int(index) if index else key for key, index in _STEP.findall(place)]


def written(steps: Iterable[str | int]) -> str:
    """Return the dotted place that has these steps."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def at(values: Any, place: str) -> Any:
    """Return the value at a dotted place.

    Raises:
        LookupError, TypeError: there is no such place.
    """
    return functools.reduce(operator.getitem, steps(place), values)


def put(values: dict[str, Any], steps: Steps, value: Any, told: str) -> None:
    """Set the value at a place, in place; mappings on the way there are made where they are missing.

    Raises:
        ConfigError: a step is none of these values; the message begins with ``told``.
    """
    inner: Any = values
    for step in steps[:-1]:
        inner = _enter(inner, step, told)
    _check_step(inner, steps[-1], told)
    inner[steps[-1]] = value


def _enter(inner: Any, step: str | int, told: str) -> Any:
    _check_step(inner, step, told)
    if isinstance(inner, dict) and inner.get(step) is None:
        inner[step] = {}
    return inner[step]


def _check_step(inner: Any, step: str | int, told: str) -> None:
    key = isinstance(inner, dict) and isinstance(step, str)
    entry = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
    if not (key or entry):
        raise ConfigError(f"{told}: there is no {_show(step)} here; only an existing list entry can be set")


def _show(step: str | int) -> str:
    return f"entry [{step}]" if isinstance(step, int) else f"key {step!r}"
