"""All boxes: those of a task on every image, laid out as columns, in the image and in the model's input."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from thaw.data.check import shown
from thaw.data.preprocess import Preprocess
from thaw.inspection.material import Material


@dataclass(frozen=True)
class AllBoxes:
    """All M boxes of a task, image by image.

    Attributes:
        rows: (M,) which image.
        boxes: (M, 4) in pixels of the image.
        labels: (M,) class indices.
        placed: (M, 4) in pixels of the model's input; parts may lie outside of it.
        shares: (M,) of the image that each covers.
        counts: (N,) boxes of each image, -1 without a label.
    """

    task: str
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    placed: NDArray[np.float64]
    shares: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, material: Material, task: str) -> Self:
        """Lay all boxes of a task out."""
        preprocess = Preprocess.of(material.experiment.data.image)
        sizes = list(zip(material.fact("height").tolist(), material.fact("width").tolist(), strict=True))
        known = [(row, one) for row, one in enumerate(material.boxes[task]) if one is not None]
        boxes = [one.boxes.astype(np.float64) for _, one in known]
        placed = [preprocess.place(*sizes[row]).boxes(one.boxes) for row, one in known]
        covers = [areas(one) / np.prod(sizes[row]) for (row, _), one in zip(known, boxes, strict=True)]
        counts = np.full(len(sizes), -1)
        counts[[row for row, _ in known]] = [len(one.boxes) for _, one in known]
        return cls(
            task=task,
            names=material.tasks[task].labels.names,
            rows=np.repeat(np.arange(len(sizes)), np.maximum(counts, 0)),
            boxes=np.concatenate([np.empty((0, 4)), *boxes]),
            labels=np.concatenate([np.empty(0, dtype=np.int64), *(one.labels for _, one in known)]),
            placed=np.concatenate([np.empty((0, 4)), *placed]),
            shares=np.concatenate([np.empty(0), *covers]),
            counts=counts,
        )

    def named(self, one: int) -> str:
        """Return a box as a person reads it."""
        return f"{self.names[self.labels[one]]} {shown(self.boxes[one].round(1).tolist())}"


def areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (M,) width times height."""
    found: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return found
