"""Weighted metrics of boxes: COCO's average precision where images count more than once.

Which answer finds which true box is settled image by image and does not depend on the weights, so it is done once; the
curves of precision over recall are then drawn for each weighting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from thaw.metrics.boxes import ImageBoxes, iou, matched
from thaw.metrics.weighted.contract import Candidates, Values, Weights, mean_over, ratio, sharpened, surprise

_OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_EXACT = 1 - 1e-10
"""COCO asks for no more overlap than this."""
_ROWS = 64
"""Weightings whose curves are held in memory at a time."""


@dataclass(frozen=True)
class _Found:
    """The answers of one class over all images, surest first.

    Attributes:
        image: (D,) which image each is in.
        scores: (D,) of each.
        hit: (10, D) whether it finds a true box, at each overlap.
        true: (N,) true boxes of each image.
    """

    image: NDArray[np.int64]
    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    true: NDArray[np.int64]


@dataclass(frozen=True)
class BoxSample:
    """Any number of boxes an image, each with one class.

    Attributes:
        names: of the classes.
        images: answers and truth of each image.
        thresholds: (C,) score from which a box of each class counts in precision, found and false_per_image.
        most: boxes of a class in an image that count, the best by score.
    """

    names: tuple[str, ...]
    images: Sequence[tuple[ImageBoxes, ImageBoxes]]
    thresholds: NDArray[np.float64]
    most: int

    def __len__(self) -> int:
        return len(self.images)

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return what `thaw.metrics.boxes.BoxMeter` gives of the task as a whole."""
        return {**self._averages(weights), **self._at_threshold(weights)}

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return ``ap50`` of every class that has a true box."""
        if not self._known:
            return {}
        precision, _ = self._curves(weights, 1)
        return {self.names[place]: {"ap50": precision[:, 0, at]} for at, place in enumerate(self._known)}

    def goodness(self) -> NDArray[np.float64]:
        """Return F1 of each image's boxes from the threshold on, and ones where there are rightly none."""
        hits, answered, true = self._counted.T
        return ratio(2 * hits, answered + true, 1.0)

    def losses(self) -> NDArray[np.float64]:
        """Return what is missing from the best F1."""
        return 1 - self.goodness()

    def at(self, rows: NDArray[np.int64]) -> "BoxSample":
        """Return the images in some rows alone."""
        return replace(self, images=[self.images[row] for row in rows.tolist()])

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the score of every answered box, and whether it finds a true one at an overlap of 0.5."""
        scores = np.concatenate([found.scores for found in self._found])
        return scores, np.concatenate([found.hit[0] for found in self._found])

    def surprise(self, sharpness: float) -> float:
        """Return the mean cross-entropy over answered boxes."""
        return surprise(*self.judged(), sharpness)

    def tempered(self, temperature: float) -> "BoxSample":
        """Return the same boxes with other scores."""
        images = [
            (replace(answered, scores=sharpened(answered.scores, 1 / temperature)), truth)
            for answered, truth in self.images
        ]
        return replace(self, images=images)

    def candidates(self, _positive: str | None) -> list[Candidates]:
        """Return all answered boxes, for one threshold of all classes."""
        scores, right = self.judged()
        images = np.concatenate([found.image for found in self._found])
        true = np.sum([found.true for found in self._found], axis=0).astype(np.float64)
        ones = np.ones(len(self))
        return [Candidates(self.names, scores[right], scores[~right], images[right], images[~right], true, ones)]

    def support(self) -> dict[str, dict[str, int]]:
        """Return class name -> metric -> how many images have a true box of it."""
        each = zip(self.names, self._found, strict=True)
        return {name: {"ap50": int((found.true > 0).sum())} for name, found in each}

    def _averages(self, weights: Weights) -> dict[str, Values]:
        if not self._known:
            return {name: np.zeros(len(weights)) for name in ("map50", "map", "map75", "recall")}
        precision, recall = self._curves(weights, len(_OVERLAPS))
        known = ~np.isnan(precision[:, 0])
        return {
            "map50": mean_over(precision[:, 0], known),
            "map": mean_over(precision.mean(axis=1), known),
            "map75": mean_over(precision[:, 5], known),
            "recall": mean_over(recall.mean(axis=1), known),
        }

    def _curves(self, weights: Weights, levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (R, L, K) average precision and largest recall, at L overlaps, of the K classes with a true box."""
        chunks = [
            [_average(self._found[place], weights[first : first + _ROWS], levels) for place in self._known]
            for first in range(0, len(weights), _ROWS)
        ]
        joined = [np.concatenate([np.stack([one[side] for one in chunk], -1) for chunk in chunks]) for side in (0, 1)]
        return joined[0], joined[1]

    def _at_threshold(self, weights: Weights) -> dict[str, Values]:
        hits, answered, true = (weights @ one for one in self._counted.T)
        whole = weights.sum(axis=1)
        return {
            "precision": ratio(hits, answered, 0.0),
            "found": ratio(hits, true, 0.0),
            "false_per_image": ratio(answered - hits, whole),
        }

    @cached_property
    def _counted(self) -> NDArray[np.float64]:
        """(N, 3) hits, answers and true boxes of each image, from the threshold on."""
        rows = []
        for answered, truth in self.images:
            kept = np.flatnonzero(answered.scores >= self.thresholds[answered.labels])
            kept = kept[np.argsort(-answered.scores[kept], kind="stable")][: self.most]
            hits = matched(answered.boxes[kept], answered.labels[kept], truth)
            rows.append((hits, len(kept), len(truth.boxes)))
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    @cached_property
    def _known(self) -> list[int]:
        return [place for place, found in enumerate(self._found) if found.true.any()]

    @cached_property
    def _found(self) -> list[_Found]:
        return [self._of_class(place) for place in range(len(self.names))]

    def _of_class(self, place: int) -> _Found:
        images, hits, scores, true = [], [], [], []
        for number, (answered, truth) in enumerate(self.images):
            kept = np.flatnonzero(answered.labels == place)
            kept = kept[np.argsort(-answered.scores[kept], kind="stable")][: self.most]
            others = truth.boxes[truth.labels == place]
            images.append(np.full(len(kept), number))
            hits.append(_hits(answered.boxes[kept], others))
            scores.append(answered.scores[kept])
            true.append(len(others))
        score = np.concatenate([*scores, np.empty(0)])
        order = np.argsort(-score, kind="stable")
        hit = np.concatenate([*hits, np.empty((len(_OVERLAPS), 0), dtype=bool)], axis=1)
        image = np.concatenate([*images, np.empty(0, dtype=np.int64)])
        return _Found(image[order], score[order], hit[:, order], np.array(true, dtype=np.int64))


def _hits(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (10, D) which boxes, surest first, find a true box that no surer one has found, at each overlap."""
    hit = np.zeros((len(_OVERLAPS), len(boxes)), dtype=bool)
    if not len(others):
        return hit
    free = np.ones((len(_OVERLAPS), len(others)), dtype=bool)
    rows = np.arange(len(_OVERLAPS))
    for place, box in enumerate(boxes):
        overlap = np.where(free, iou(box, others), -1.0)
        best = len(others) - 1 - overlap[:, ::-1].argmax(axis=1)  # of equals the last, as COCO has it
        hit[:, place] = overlap[rows, best] >= np.minimum(_OVERLAPS, _EXACT)
        free[rows[hit[:, place]], best[hit[:, place]]] = False
    return hit


def _average(found: _Found, weights: Weights, levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (R, L) average precision over 101 recalls, and the largest recall; NaN without a true box.

    Source: COCO's evaluator, Lin et al. 2014, arXiv:1405.0312.
    """
    true = weights @ found.true.astype(np.float64)
    counted = weights[:, found.image]
    seen = counted.cumsum(axis=1)
    shape = len(weights), levels
    averages, recalls = np.full(shape, np.nan), np.full(shape, np.nan)
    for level, hit in enumerate(found.hit[:levels]):
        right = (counted * hit).cumsum(axis=1)
        recall = ratio(right, true[:, None])
        precision = np.maximum.accumulate(ratio(right, seen, 0.0)[:, ::-1], axis=1)[:, ::-1]
        for row in np.flatnonzero(true):
            reached = np.searchsorted(recall[row], _RECALLS, side="left")
            padded = np.append(precision[row], 0.0)
            averages[row, level] = padded[reached].mean()
            recalls[row, level] = recall[row, -1] if recall.shape[1] else 0.0
    return averages, recalls
