"""Neighbours: the nearest of many vectors by cosine, found by faiss.

Up to `EXACT` vectors are compared with each. More are sorted into cells, of which the nearest are searched (an inverted
file), with a byte for each number: time grows with about the power 1.5 of their number, memory with the number alone.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

EXACT = 10_000
_SEARCHED = 16
"""Cells that are searched for each query."""
_TRAINED = 64
"""Vectors to each cell by which cells are found."""


class Neighbours:
    """Vectors that are searched."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        """Take (N, D) vectors, each of length 1 or 0."""
        self._index = _exact(vectors.shape[1]) if len(vectors) <= EXACT else _cells(vectors)
        self._index.add(np.ascontiguousarray(vectors))

    def nearest(self, queries: NDArray[np.float32], most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (Q, most) cosines of the nearest vectors, from the highest on, and their places.

        Where fewer are found, places are -1 and cosines very low.

        Args:
            queries: (Q, D), each of length 1 or 0.
        """
        cosines, places = self._index.search(np.ascontiguousarray(queries), most)
        return cosines, places


def _exact(length: int) -> Any:
    return faiss.IndexFlatIP(length)


def _cells(vectors: NDArray[np.float32]) -> Any:
    count = 2 ** round(np.log2(3 * np.sqrt(len(vectors))))
    kind, length = faiss.ScalarQuantizer.QT_8bit, vectors.shape[1]
    index = faiss.IndexIVFScalarQuantizer(_exact(length), length, count, kind, faiss.METRIC_INNER_PRODUCT)
    drawn = np.random.default_rng(0).choice(len(vectors), min(len(vectors), _TRAINED * count), replace=False)
    index.train(vectors[np.sort(drawn)])
    index.nprobe = _SEARCHED
    return index
