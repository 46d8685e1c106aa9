"""Weighted metrics of masks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from thaw.metrics.weighted.contract import Candidates, Values, Weights, mean_over, ratio


@dataclass(frozen=True)
class MaskSample:
    """One class for every pixel.

    Attributes:
        names: of the classes.
        tables: (N, C, C + 1) pixels of each image by true class and answered class, the last being none.
    """

    names: tuple[str, ...]
    tables: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tables)

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return what `thaw.metrics.masks.MaskMeter` gives of the task as a whole."""
        hit, union, pixels = self._counts(weights)
        return {
            "miou": mean_over(ratio(hit, union, 0.0), union > 0),
            "dice": mean_over(ratio(2 * hit, union + hit, 0.0), union > 0),
            "pixel_accuracy": ratio(hit.sum(axis=1), pixels),
        }

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return the intersection over union of every class that occurs."""
        hit, union, _ = self._counts(weights)
        iou = ratio(hit, union)
        return {name: {"iou": iou[:, place]} for place, name in enumerate(self.names) if union[:, place].any()}

    def goodness(self) -> NDArray[np.float64]:
        """Return the mean intersection over union of each image, over the classes that occur in it."""
        hit, union, _ = self._each
        return mean_over(ratio(hit, union, 0.0), union > 0)

    def losses(self) -> NDArray[np.float64]:
        """Return what is missing from the full intersection over union."""
        return 1 - self.goodness()

    def at(self, rows: NDArray[np.int64]) -> "MaskSample":
        """Return the images in some rows alone."""
        return MaskSample(self.names, self.tables[rows])

    def judged(self) -> None:
        """Return None: masks are answered without scores."""
        return

    def surprise(self, _sharpness: float) -> float:
        """Return NaN."""
        return float("nan")

    def tempered(self, _temperature: float) -> "MaskSample":
        """Return the same answers."""
        return self

    def candidates(self, _positive: str | None) -> list[Candidates]:
        """Return nothing."""
        return []

    def support(self) -> dict[str, dict[str, int]]:
        """Return class name -> metric -> how many images have a pixel of it."""
        counts = (self.tables.sum(axis=2) > 0).sum(axis=0)
        return {name: {"iou": int(count)} for name, count in zip(self.names, counts, strict=True)}

    def _counts(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return (R, C) pixels answered rightly, (R, C) those in the union with truth, and (R,) all with a label."""
        hit, union, pixels = (weights @ one for one in self._each)
        return hit, union, pixels

    @cached_property
    def _each(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The same of each image: (N, C), (N, C) and (N,)."""
        classes = len(self.names)
        hit = self.tables[:, range(classes), range(classes)].astype(np.float64)
        true = self.tables.sum(axis=2).astype(np.float64)
        answered = self.tables.sum(axis=1)[:, :classes].astype(np.float64)
        return hit, true + answered - hit, true.sum(axis=1)
