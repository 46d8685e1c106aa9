"""Wording: how the values of a sweep are written for people, the same in tables, charts and sentences.

What every report writes alike stands in thaw.page.wording.
"""

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


def clock(seconds: float) -> tuple[float, str]:
    """Return the unit that a time axis of this length has, in seconds, and its name."""
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 10_800 else (3600.0, "hours")


def short(places: Iterable[str]) -> dict[str, str]:
    """Return the shortest ending of each dotted place that no other shares, of two steps where it has them."""
    places = list(places)
    return {place: _ending(place, [other for other in places if other != place]) for place in places}


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
