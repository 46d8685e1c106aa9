"""Cut: where rows in the order of their keys are divided into pieces, so that new rows change few of them.

A piece holds the rows whose keys begin with the same bits. One that grows beyond its bounds is divided by one bit more,
and all others stay as they are. Which pieces there are follows from the keys alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BITS = 64


@dataclass(frozen=True)
class Piece:
    """Some rows in a row.

    Attributes:
        start, stop: the first, and the one after the last.
        bits: ones and zeros that all of their keys begin with, and no others do.
    """

    start: int
    stop: int
    bits: str


def pieces(
    keys: NDArray[np.uint64], most: int, sizes: NDArray[np.int64] | None = None, most_bytes: int = 0
) -> list[Piece]:
    """Return the pieces that rows make, in order.

    Pieces are on average about three quarters of what they may be, and rarely less than half.

    Args:
        keys: (N,) ascending.
        most: rows that a piece may have.
        sizes: (N,) bytes of each row; a piece has at most ``most_bytes``, or one row.
    """
    reach = np.concatenate([[0], np.cumsum(sizes if sizes is not None else np.zeros(len(keys), dtype=np.int64))])

    def fits(piece: Piece) -> bool:
        rows = piece.stop - piece.start
        return rows <= 1 or (rows <= most and reach[piece.stop] - reach[piece.start] <= most_bytes)

    def divided(piece: Piece) -> Iterator[Piece]:
        if piece.start == piece.stop:
            return
        if fits(piece) or len(piece.bits) == _BITS:
            yield piece
            return
        bound = np.uint64(int((piece.bits + "1").ljust(_BITS, "0"), 2))
        middle = piece.start + int(np.searchsorted(keys[piece.start : piece.stop], bound))
        yield from divided(Piece(piece.start, middle, piece.bits + "0"))
        yield from divided(Piece(middle, piece.stop, piece.bits + "1"))

    return list(divided(Piece(0, len(keys), "")))


def overlap(one: str, other: str) -> bool:
    """Return whether two pieces, given by their bits, can hold the same row."""
    return one.startswith(other) or other.startswith(one)


def bits_of(key: int) -> str:
    """Return all bits of a key."""
    return f"{key:0{_BITS}b}"
