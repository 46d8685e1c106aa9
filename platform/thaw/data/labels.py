"""Label schemas: class name <-> class index, once for training, evaluation and serving.

A schema is the sorted list of names with a fingerprint; it is saved with the dataset and with the bundle.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.config.experiment import AnnotationKind
from thaw.data import rle
from thaw.data.sources.contract import RawBoxes, RawLabel, RawMask, UnreadBoxes
from thaw.errors import DataError
from thaw.metrics.masks import IGNORED

NO_BOX, NO_LABEL = -1, -2
"""In place of a class index in the targets of boxes: a row that fills up, and an image that has no label."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image; it may have none and still be labelled.

    Attributes:
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels, 0 <= x0 < x1 and 0 <= y0 < y1.
        labels: (N,) int64 class indices.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


Annotation = int | tuple[int, ...] | Boxes | NDArray[np.uint8] | None
"""A class index, the indices of a set of classes, boxes, an (H, W) mask of class indices with 255 where a pixel has no
label, or None where the image has no label."""


class LabelSchema(BaseModel):
    """The classes of one task, in the order of the head's outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: AnnotationKind
    names: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Class name -> class index."""
        return {name: place for place, name in enumerate(self.names)}

    @property
    def fingerprint(self) -> str:
        """Short hash of kind and names: equal schemas mean interchangeable heads."""
        content = json.dumps([self.kind, self.names], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @classmethod
    def learn(cls, task: str, kind: AnnotationKind, labels: Iterable[RawLabel], allowed: Sequence[str] | None) -> Self:
        """Return the schema of the names found, or of the ``allowed`` ones where they are given.

        Raises:
            DataError: there are fewer names than a task of this kind needs.
        """
        names = set(allowed) if allowed is not None else {name for label in labels for name in as_names(label)}
        fewest = 2 if kind == "class" else 1
        if len(names) < fewest:
            raise DataError(
                f"tasks.{task}: {len(names)} class name(s) found ({', '.join(sorted(names)) or 'none'}), at least "
                f"{fewest} needed; is tasks.{task}.column the right column?"
            )
        return cls(kind=kind, names=tuple(sorted(names)))

    def encode(self, label: RawLabel) -> int | tuple[int, ...] | None:
        """Return the class index, or indices, of a raw label of class names; None stays None.

        Raises:
            KeyError: a name is not in the schema.
        """
        if label is None:
            return None
        if self.kind == "classes":
            return tuple(sorted({self.index[name] for name in as_names(label)}))
        [name] = as_names(label)
        return self.index[name]

    def targets(self, annotations: Sequence[Annotation], size: int) -> NDArray[Any]:
        """Return what a loss compares with, for images of ``size`` x ``size`` pixels.

        Returns:
            ``class``: (B,) int64 class indices, -1 for a missing label.
            ``classes``: (B, C) int64 zeros and ones, all -1 for a missing label.
            ``boxes``: (B, M, 5) float32 x0, y0, x1, y1, class index, M being the most boxes of an image and at least
            1; the index is `NO_BOX` in rows that fill up and `NO_LABEL` in all rows of a missing label.
            ``mask``: (B, size, size) uint8 class indices, 255 where a pixel has no label.
        """
        return _TARGETS[self.kind](annotations, len(self.names), size)

    def annotations(self, targets: NDArray[Any]) -> list[Annotation]:
        """Return the annotations that targets were made of."""
        return [_ANNOTATION[self.kind](one) for one in targets]

    def to_json(self, annotation: Annotation) -> Any:
        """Return an annotation as JSON values: indices as they are, boxes as lists, masks as run lengths by class."""
        return None if annotation is None else _TO_JSON[self.kind](annotation)

    def from_json(self, value: Any) -> Annotation:
        """Return the annotation that `to_json` made the value of."""
        return None if value is None else _FROM_JSON[self.kind](value)


def _class_targets(annotations: Sequence[Any], _classes: int, _size: int) -> NDArray[np.int64]:
    return np.array([-1 if one is None else one for one in annotations], dtype=np.int64)


def _set_targets(annotations: Sequence[Any], classes: int, _size: int) -> NDArray[np.int64]:
    hot = np.zeros((len(annotations), classes), dtype=np.int64)
    for row, one in zip(hot, annotations, strict=True):
        if one is None:
            row[:] = -1
        else:
            row[list(one)] = 1
    return hot


def _box_targets(annotations: Sequence[Any], _classes: int, _size: int) -> NDArray[np.float32]:
    most = max([1, *(len(one.boxes) for one in annotations if one is not None)])
    rows = np.zeros((len(annotations), most, 5), dtype=np.float32)
    rows[..., 4] = NO_BOX
    for row, one in zip(rows, annotations, strict=True):
        if one is None:
            row[:, 4] = NO_LABEL
        else:
            row[: len(one.boxes), :4], row[: len(one.boxes), 4] = one.boxes, one.labels
    return rows


def _mask_targets(annotations: Sequence[Any], _classes: int, size: int) -> NDArray[np.uint8]:
    masks = np.full((len(annotations), size, size), IGNORED, dtype=np.uint8)
    for mask, one in zip(masks, annotations, strict=True):
        if one is not None:
            mask[:] = one
    return masks


def _boxes_of(target: NDArray[np.float32]) -> Boxes | None:
    if (target[:, 4] == NO_LABEL).any():
        return None
    kept = target[target[:, 4] >= 0]
    return Boxes(kept[:, :4].astype(np.float32), kept[:, 4].astype(np.int64))


_TARGETS: Mapping[AnnotationKind, Callable[[Sequence[Any], int, int], NDArray[Any]]] = {
    "class": _class_targets,
    "classes": _set_targets,
    "boxes": _box_targets,
    "mask": _mask_targets,
}
_ANNOTATION: Mapping[AnnotationKind, Callable[[Any], Annotation]] = {
    "class": lambda target: None if target < 0 else int(target),
    "classes": lambda target: None if (target < 0).any() else tuple(np.flatnonzero(target).tolist()),
    "boxes": _boxes_of,
    "mask": lambda target: None if (target == IGNORED).all() else target,
}


def _boxes_to_json(one: Any) -> dict[str, Any]:
    return {"boxes": one.boxes.tolist(), "labels": one.labels.tolist()}


def _boxes_from_json(value: Mapping[str, Any]) -> Boxes:
    boxes = np.array(value["boxes"], dtype=np.float32).reshape(-1, 4)
    return Boxes(boxes, np.array(value["labels"], dtype=np.int64))


def _mask_to_json(mask: Any) -> dict[str, Any]:
    found = (int(index) for index in np.unique(mask) if index != IGNORED)
    return {"size": list(mask.shape), "counts": {str(index): rle.encode(mask == index).counts for index in found}}


def _mask_from_json(value: Mapping[str, Any]) -> NDArray[np.uint8]:
    height, width = value["size"]
    mask = np.full((height, width), IGNORED, dtype=np.uint8)
    for index, counts in value["counts"].items():
        mask[rle.decode(rle.Rle(size=(height, width), counts=counts))] = int(index)
    return mask


_TO_JSON: Mapping[AnnotationKind, Callable[[Any], Any]] = {
    "class": int,
    "classes": list,
    "boxes": _boxes_to_json,
    "mask": _mask_to_json,
}
_FROM_JSON: Mapping[AnnotationKind, Callable[[Any], Annotation]] = {
    "class": int,
    "classes": tuple,
    "boxes": _boxes_from_json,
    "mask": _mask_from_json,
}


def as_names(label: RawLabel) -> tuple[str, ...]:
    """Return the distinct class names in a raw label; none when it is missing."""
    match label:
        case None | UnreadBoxes():
            return ()
        case str():
            return (label,)
        case RawBoxes():
            return tuple(dict.fromkeys(label.names))
        case RawMask():
            return tuple(dict.fromkeys(label.names.values()))
    return tuple(dict.fromkeys(label))


def counts(schema: LabelSchema, labels: Iterable[RawLabel]) -> Mapping[str, int]:
    """Return how many labels name each class of the schema; of boxes, how many boxes do."""
    found = dict.fromkeys(schema.names, 0)
    for label in labels:
        for name in label.names if isinstance(label, RawBoxes) else as_names(label):
            found[name] += 1
    return found
