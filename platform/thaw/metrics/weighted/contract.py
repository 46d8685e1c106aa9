"""What the images of a task come to under weightings."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TINY = 1e-12
"""What a probability is kept away from 0 and 1 by, before a logarithm is taken."""
INTERPOLATED = frozenset({"map", "map50", "map75", "ap50"})
"""Metrics read off a curve whose dips are filled: they keep the best of what is chance, and are too high by it."""
Weights = NDArray[np.float64]
"""(R, N): how often each of N images counts, in each of R weightings."""
Values = NDArray[np.float64]
"""(R,): a metric in each weighting; NaN where it has none."""


@dataclass(frozen=True)
class Candidates:
    """Statements that share a threshold: those whose score reaches it are answered.

    Attributes:
        names: the classes whose threshold it is.
        right, wrong: (K,), (L,) their scores.
        right_images, wrong_images: (K,), (L,) the image of each.
        positives: (N,) how many there are to be found in each image.
        negatives: (N,) what wrong ones are counted by: 1 for an image without the class, or for any image.
        usual: (L,) which wrong ones would be answered without a threshold; None where a score decides about that.
    """

    names: tuple[str, ...]
    right: NDArray[np.float64]
    wrong: NDArray[np.float64]
    right_images: NDArray[np.int64]
    wrong_images: NDArray[np.int64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    usual: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        scores: NDArray[np.float64],
        true: NDArray[np.bool_],
        answered: NDArray[np.bool_],
        usual: NDArray[np.bool_] | None = None,
    ) -> "Candidates":
        """Return the candidates of one class of whole images.

        Args:
            scores: (N,).
            true: (N,) whether an image is of the class.
            answered: (N,) whether its threshold is asked at all.
            usual: (N,) whether it would be answered without one.
        """
        right, wrong = np.flatnonzero(true & answered), np.flatnonzero(~true & answered)
        counts = true.astype(np.float64)
        free = None if usual is None else usual[wrong]
        return cls((name,), scores[right], scores[wrong], right, wrong, counts, 1 - counts, free)


class Sample(Protocol):
    """Answers to N labelled images, and what these carry."""

    def __len__(self) -> int:
        """Return N."""

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return the metrics of the task as a whole, by the names that its meter gives them."""

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return class name -> metric -> values, for the classes that occur."""

    def goodness(self) -> NDArray[np.float64]:
        """Return (N,) how good each answer is by itself, from 0 to 1."""

    def losses(self) -> NDArray[np.float64]:
        """Return (N,) how far each answer is from the truth: the higher, the more telling a mistake."""

    def at(self, rows: NDArray[np.int64]) -> "Sample":
        """Return the images in some rows alone."""

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
        """Return (K,) scores of single statements and (K,) whether each is right; None where answers have no scores."""

    def surprise(self, sharpness: float) -> float:
        """Return the mean negative log-likelihood of the truth, outputs being multiplied by ``sharpness``.

        NaN where answers have no scores.
        """

    def tempered(self, temperature: float) -> "Sample":
        """Return the same answers with their outputs divided by a temperature."""

    def candidates(self, positive: str | None) -> list[Candidates]:
        """Return what thresholds decide about; nothing where answers have no scores.

        Args:
            positive: the one class that a threshold is for.
        """

    def support(self) -> dict[str, dict[str, int]]:
        """Return class name -> metric of `by_class` -> how many cases it is a share of, or images that bear on it."""


def sharpened(scores: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Return scores in [0, 1], each standing by itself, as they are with their outputs multiplied."""
    kept = np.clip(scores, TINY, 1 - TINY)
    return np.asarray(1 / (1 + np.exp(-sharpness * (np.log(kept) - np.log1p(-kept)))))


def surprise(scores: NDArray[np.float64], right: NDArray[np.bool_], sharpness: float) -> float:
    """Return the mean negative log-likelihood of yes and no; NaN without any."""
    if not len(scores):
        return float("nan")
    told = sharpened(scores, sharpness)
    return float(-np.log(np.clip(np.where(right, told, 1 - told), TINY, None)).mean())


def ratio(above: NDArray[np.float64], below: NDArray[np.float64], empty: float = np.nan) -> NDArray[np.float64]:
    """Return the elementwise quotient, and ``empty`` where it would be one by zero."""
    found = np.full(np.broadcast_shapes(above.shape, below.shape), empty)
    np.divide(above, below, out=found, where=below != 0)
    return found


def mean_over(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Values:
    """Return the mean over the last axis of what is counted."""
    return ratio(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1).astype(np.float64))
