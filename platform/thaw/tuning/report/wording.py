"""Wording: how the values of a sweep are written for people, the same in tables, charts and sentences."""

import json
from collections.abc import Iterable
from typing import Any

NOT_SET = "not set"
"""Said of a dimension that a trial does not have."""


def value(drawn: Any) -> str:
    """Return a drawn value as text, floats to three digits."""
    if isinstance(drawn, float):
        return _plain(f"{drawn:.3g}")
    return drawn if isinstance(drawn, str) else json.dumps(drawn, ensure_ascii=False, default=str)


def score(number: float) -> str:
    """Return a score with as many digits as tell trials apart."""
    return f"{number:.4f}" if abs(number) < 10 else f"{number:.5g}"


def count(number: int, noun: str) -> str:
    """Return a number of things, such as ``1 trial`` or ``1,200 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time, such as ``41 s``, ``3 min 20 s`` or ``1 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def clock(seconds: float) -> tuple[float, str]:
    """Return the unit that a time axis of this length has, in seconds, and its name."""
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 10_800 else (3600.0, "hours")


def short(places: Iterable[str]) -> dict[str, str]:
    """Return the shortest ending of each dotted place that no other shares, of two steps where it has them."""
    places = list(places)
    return {place: _ending(place, [other for other in places if other != place]) for place in places}


def cut(text: str, most: int) -> str:
    """Return text that is no longer than ``most`` characters, its middle left out."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def _ending(place: str, others: list[str]) -> str:
    steps = place.split(".")
    for number in range(2, len(steps)):
        ending = ".".join(steps[-number:])
        if not any(f".{other}".endswith(f".{ending}") for other in others):
            return ending
    return place


def _plain(text: str) -> str:
    """Return 1e-04 as 1e-4."""
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text
