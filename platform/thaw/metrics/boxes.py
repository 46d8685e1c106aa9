"""Metrics of boxes: average precision as COCO defines it, and what a chosen score threshold would give.

Precision averages are the work of faster-coco-eval; the operating figures at one threshold are counted here.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from thaw.errors import DataError

IOU = 0.5
"""Overlap from which a box counts as found, in the figures at one threshold."""


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image.

    Attributes:
        boxes: (N, 4) float64 x0, y0, x1, y1 in pixels.
        labels: (N,) class indices.
        scores: (N,) in [0, 1]; ones for true boxes.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


class BoxMeter:
    """True and answered boxes seen so far, image by image."""

    def __init__(self, names: Sequence[str], thresholds: Sequence[float], most: int) -> None:
        """Measure boxes of these classes.

        Args:
            thresholds: score from which a box of each class counts in precision and false positives.
            most: boxes an image that count, the best by score.
        """
        self.names, self.thresholds, self._most = tuple(names), np.array(thresholds, dtype=np.float64), most
        self.images: list[tuple[ImageBoxes, ImageBoxes]] = []

    def add(self, answered: ImageBoxes, truth: ImageBoxes) -> None:
        """Add one labelled image's boxes; it may have none."""
        if len(answered.boxes) != len(answered.scores) or len(truth.boxes) != len(truth.labels):
            raise DataError("boxes, labels and scores of an image must be equally many")
        self.images.append((answered, truth))

    def compute(self) -> dict[str, float]:
        """Return metric name -> value; empty when no image was added.

        ``map`` is the mean over overlaps of 0.50 to 0.95, ``map50`` and ``map75`` at one overlap, all over the
        classes that have a true box, and zero where none has; ``recall`` is the mean over these overlaps of the share
        of true boxes that any answer finds; ``precision``, ``found`` and ``false_per_image`` count boxes from the
        threshold on at an overlap of 0.5.
        """
        images = self._joined()
        if not images:
            return {}
        return {**self._averages(images), **self._at_threshold(images)}

    def curves(self) -> None:
        """Return None: boxes have no score of the image."""
        return

    def confusion(self) -> None:
        """Return None: boxes that match nothing have no place in a confusion matrix."""
        return

    def _joined(self) -> list[tuple[ImageBoxes, ImageBoxes]]:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.images
        parts: list[list[tuple[ImageBoxes, ImageBoxes]]] = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(parts, self.images)
        return [image for part in parts for image in part]

    def _averages(self, images: Sequence[tuple[ImageBoxes, ImageBoxes]]) -> dict[str, float]:
        truths = [box for place, (_, truth) in enumerate(images) for box in _coco(place, truth)]
        answers = [box for place, (answered, _) in enumerate(images) for box in _coco(place, answered)]
        if not truths:
            return dict.fromkeys(("map50", "map", "map75", "recall"), 0.0)
        annotations = [{**one, "id": number} for number, one in enumerate(truths, start=1)]
        evaluator = _evaluated(len(images), self.names, annotations, answers, self._most)
        precision: NDArray[np.float64] = evaluator.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class
        recall: NDArray[np.float64] = evaluator.eval["recall"][:, :, 0, -1]
        known = [place for place in range(len(self.names)) if (precision[:, :, place] > -1).any()]
        by_class = {f"ap50_{self.names[place]}": float(precision[0, :, place].mean()) for place in known}
        return {
            "map50": float(precision[0][:, known].mean()),
            "map": float(precision[:, :, known].mean()),
            "map75": float(precision[5][:, known].mean()),
            "recall": float(recall[:, known].mean()),
            **by_class,
        }

    def _at_threshold(self, images: Sequence[tuple[ImageBoxes, ImageBoxes]]) -> dict[str, float]:
        hits = answered = true = 0
        for found, truth in images:
            kept = np.flatnonzero(found.scores >= self.thresholds[found.labels])
            kept = kept[np.argsort(-found.scores[kept], kind="stable")][: self._most]
            answered, true = answered + len(kept), true + len(truth.boxes)
            hits += matched(found.boxes[kept], found.labels[kept], truth)
        return {
            "precision": hits / answered if answered else 0.0,
            "found": hits / true if true else 0.0,
            "false_per_image": (answered - hits) / len(images),
        }


def _coco(image: int, boxes: ImageBoxes) -> list[dict[str, object]]:
    """Return boxes as COCO annotations."""
    sides = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    return [
        {
            "image_id": image + 1,
            "category_id": int(label) + 1,
            "bbox": [*corner.tolist(), *side.tolist()],
            "area": float(side.prod()),
            "iscrowd": 0,
            "score": float(score),
        }
        for corner, side, label, score in zip(boxes.boxes[:, :2], sides, boxes.labels, boxes.scores, strict=True)
    ]


def _evaluated(
    images: int,
    names: Sequence[str],
    annotations: Sequence[Mapping[str, object]],
    answers: Sequence[Mapping[str, object]],
    most: int,
) -> COCOeval_faster:
    with contextlib.redirect_stdout(io.StringIO()):  # the evaluator tells of its progress there
        truth = COCO(
            {
                "images": [{"id": place + 1} for place in range(images)],
                "categories": [{"id": place + 1, "name": name} for place, name in enumerate(names)],
                "annotations": list(annotations),
            }
        )
        evaluator = COCOeval_faster(truth, truth.loadRes(list(answers)), "bbox")
        evaluator.params.maxDets = [most]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def matched(boxes: NDArray[np.float64], labels: NDArray[np.int64], truth: ImageBoxes) -> int:
    """Return how many boxes, best first, find a true box of their class that no better one has found."""
    free = np.ones(len(truth.boxes), dtype=bool)
    for box, label in zip(boxes, labels, strict=True):
        overlap = np.where(free & (truth.labels == label), iou(box, truth.boxes), 0.0)
        if len(overlap) and overlap.max() >= IOU:
            free[overlap.argmax()] = False
    return int((~free).sum())


def iou(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) intersection over union of one box with (N, 4) boxes."""
    corner, other = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(other - corner, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    overlap: NDArray[np.float64] = both / np.maximum(areas - both, 1e-12)
    return overlap
