"""Claims: who computes what, so that several runs that need the same thing do not all compute it.

A claim ends when the thing is there, when it is given up, or when whoever made it has not been heard of for long.
"""

import time
from collections.abc import Callable, Iterable

Spot = tuple[str, int]
"""A key, and a place under it."""

_SILENT_S = 120.0
"""Seconds without a sign of life after which claims are void: many times what one block takes."""


class Claims:
    """Spots, each claimed by one name at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._by: dict[Spot, str] = {}
        self._heard: dict[str, float] = {}
        self._clock = clock

    def claim(self, name: str, wanted: Iterable[Spot]) -> list[Spot]:
        """Return those of the spots that are now claimed by a name, in their order."""
        self._heard[name] = self._clock()
        granted = [spot for spot in wanted if spot not in self._by or self._is_silent(self._by[spot])]
        self._by.update(dict.fromkeys(granted, name))
        return granted

    def done(self, spot: Spot) -> None:
        """End a claim, for what was claimed has been computed; whoever made it is alive."""
        name = self._by.pop(spot, None)
        if name is not None:
            self._heard[name] = self._clock()

    def release(self, name: str) -> None:
        """End all claims of a name."""
        self._by = {spot: by for spot, by in self._by.items() if by != name}
        self._heard.pop(name, None)

    def _is_silent(self, name: str) -> bool:
        return self._clock() - self._heard.get(name, 0.0) > _SILENT_S
