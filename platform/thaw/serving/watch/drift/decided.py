"""Decided: which classes were answered of some images, and how surely; of validation images as of logged ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decided:
    """What one task came to on N images.

    Attributes:
        names: the C classes.
        shown: (N, C) whether each was answered.
        sure: (N,) score of the surest of them, nan where none was answered.
    """

    names: tuple[str, ...]
    shown: NDArray[np.bool_]
    sure: NDArray[np.float32]

    def at(self, rows: NDArray[np.int64]) -> Self:
        """Return some of the images."""
        return type(self)(self.names, self.shown[rows], self.sure[rows])

    @property
    def shares(self) -> dict[str, float]:
        """Share of the images of which each class was answered."""
        return dict(zip(self.names, self.shown.mean(axis=0).tolist(), strict=True))

    @property
    def confidence(self) -> float | None:
        """Mean score of the surest class; None where nothing was answered."""
        known = self.sure[~np.isnan(self.sure)]
        return float(known.mean()) if len(known) else None


def of_column(column: pa.ChunkedArray, classes: Mapping[str, Sequence[str]]) -> dict[str, Decided]:
    """Return task -> what it came to, out of the column ``decided`` of a log; classes that are unknown are passed over.

    Args:
        classes: task -> its classes.
    """
    lists = column.combine_chunks()
    rows, entries = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    tasks, labels = (entries.field(name).to_numpy(zero_copy_only=False) for name in ("task", "label"))
    scores = entries.field("score").to_numpy(zero_copy_only=False)
    found = {}
    for task, names in classes.items():
        of = tasks == task
        found[task] = _decided(tuple(names), len(lists), rows[of], labels[of], scores[of])
    return found


def _decided(
    names: tuple[str, ...], images: int, rows: NDArray[np.int64], labels: NDArray[Any], scores: NDArray[np.float32]
) -> Decided:
    index = {name: place for place, name in enumerate(names)}
    places = np.array([index.get(label, -1) for label in labels], dtype=np.int64)
    known = places >= 0
    shown = np.zeros((images, len(names)), dtype=bool)
    shown[rows[known], places[known]] = True
    sure = np.full(images, -np.inf, dtype=np.float32)
    np.maximum.at(sure, rows[known], scores[known])
    return Decided(names, shown, np.where(np.isinf(sure), np.nan, sure).astype(np.float32))


def joined(parts: Sequence[Decided]) -> Decided:
    """Return all images of some, in order."""
    return Decided(
        parts[0].names, np.concatenate([one.shown for one in parts]), np.concatenate([one.sure for one in parts])
    )
