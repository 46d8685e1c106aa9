"""Metrics of masks: one class for every pixel, over images and over the workers of a process group.

Counts of pixels by true and answered class are all that is kept, so memory does not grow with the images.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORED = 255
"""Value of pixels that have no label: they cost nothing and count for nothing."""


class MaskMeter:
    """Pixels seen so far, in a (C, C + 1) table: true class by row, answered class or none by column."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.table = torch.zeros(len(self.names), len(self.names) + 1, dtype=torch.int64)

    def add(self, answered: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Add one image's (H, W) class indices; pixels whose truth is `IGNORED` are passed over.

        Pixels whose answer is `IGNORED`, outside of what the model saw, count as missed.
        """
        kept, classes = truth != IGNORED, len(self.names)
        pairs = truth[kept].astype(np.int64) * (classes + 1) + np.minimum(answered[kept], classes)
        found = np.bincount(pairs, minlength=self.table.numel())
        self.table += torch.from_numpy(found.reshape(self.table.shape))

    def compute(self) -> dict[str, float]:
        """Return metric name -> value in [0, 1]; empty when no pixel had a label.

        ``miou`` and ``dice`` are means over the classes that occur among labels or answers.
        """
        table = self._joined()
        if not table.sum():
            return {}
        hit = table.diag()
        union = table.sum(dim=0)[:-1] + table.sum(dim=1) - hit
        occurs = union > 0
        iou = (hit / union.clamp(min=1))[occurs]
        dice = (2 * hit / (union + hit).clamp(min=1))[occurs]
        by_class = {
            f"iou_{name}": float(hit[place] / union[place]) for place, name in enumerate(self.names) if union[place]
        }
        return {
            "miou": float(iou.mean()),
            "dice": float(dice.mean()),
            "pixel_accuracy": float(hit.sum() / table.sum()),
            **by_class,
        }

    def curves(self) -> None:
        """Return None: answers are masks, without scores."""
        return

    def confusion(self) -> list[list[int]]:
        """Return (C, C) counts of pixels: true class by row, answered class by column."""
        rows: list[list[int]] = self._joined()[:, :-1].tolist()
        return rows

    def _joined(self) -> Tensor:
        table = self.table.clone()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(table)
        return table
