"""Shelf: things by key and place under a budget of bytes; what was not asked for longest gives way.

Whoever got a thing keeps it: giving way only means that the next one to ask must make it again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


@dataclass
class _Row(Generic[Thing]):
    things: dict[int, Thing] = field(default_factory=dict)
    nbytes: int = 0


class Shelf(Generic[Thing]):
    """Numbered things under keys."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._rows: dict[str, _Row[Thing]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all that is here."""
        return sum(row.nbytes for row in self._rows.values())

    def put(self, key: str, place: int, nbytes: int, make: Callable[[], Thing]) -> bool:
        """Put what ``make`` returns at a place of a key; return False, and make nothing, where it cannot fit."""
        row = self._touched(key)
        if place in row.things:
            return True
        while self.nbytes + nbytes > self.max_bytes and next(iter(self._rows)) != key:
            del self._rows[next(iter(self._rows))]
        if self.nbytes + nbytes > self.max_bytes:
            return False
        row.things[place] = make()
        row.nbytes += nbytes
        return True

    def get(self, key: str) -> dict[int, Thing]:
        """Return what is there of a key, by place."""
        return dict(self._touched(key).things) if key in self._rows else {}

    def drop(self, key: str) -> None:
        """Take away all there is of a key, if there is any."""
        self._rows.pop(key, None)

    def _touched(self, key: str) -> _Row[Thing]:
        """Return the row of a key, which is now the last to give way."""
        self._rows[key] = self._rows.pop(key) if key in self._rows else _Row()
        return self._rows[key]
