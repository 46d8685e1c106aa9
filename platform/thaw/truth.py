"""Truth: what an image carries for a task, in the form of an answer, to be drawn beside or in place of one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.data import rle
from thaw.data.feed import TARGET
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.metrics.masks import IGNORED
from thaw.tasks.contract import Answer, Marks

_TOLD = 0.005
"""Shares of a class below which it is not told."""


class Truth(Answer):
    """The annotation of one image for one task.

    Attributes:
        value: an annotation, or (C,) float32 shares of the classes in a mixture of images.
    """

    labels: LabelSchema
    value: object

    @classmethod
    def of(cls, labels: LabelSchema, value: object) -> "Truth":
        """Return an annotation, or None where there is no label, as it is."""
        return cls.model_construct(labels=labels, value=value)

    def summary(self) -> Mapping[str, str]:
        """Return the classes."""
        names, truth = self.labels.names, self.value
        match truth:
            case int():
                return {names[truth]: ""}
            case tuple():
                return {names[place]: "" for place in truth}
            case Boxes():
                places, counts = np.unique(truth.labels, return_counts=True)
                return {names[place]: f"x{count}" for place, count in zip(places, counts, strict=True)}
            case np.ndarray() if truth.ndim == 1:
                order = np.argsort(-truth, kind="stable")
                return {names[place]: f"{truth[place]:.0%}" for place in order if truth[place] >= _TOLD}
            case np.ndarray():
                return {name: f"{np.mean(truth == place):.0%}" for place, name in enumerate(names) if place in truth}
        return {"no label": ""}

    def marks(self) -> Marks:
        """Return boxes or masks."""
        names, truth = self.labels.names, self.value
        match truth:
            case Boxes():
                rows = zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)
                return Marks(boxes=tuple((tuple(box), names[label], 1.0) for box, label in rows))
            case np.ndarray() if truth.ndim == 2:
                masks = {name: rle.encode(truth == place) for place, name in enumerate(names) if place in truth}
                return Marks(masks=masks, classes=names)
        return Marks()


def truths(labels: Mapping[str, LabelSchema], batch: Mapping[str, NDArray[Any]]) -> list[dict[str, Answer]]:
    """Return what each image of a batch carries, by task; a batch is as a feed loads it."""
    columns = {task: _values(schema, np.asarray(batch[TARGET + task])) for task, schema in labels.items()}
    return [
        {task: Truth.of(labels[task], values[row]) for task, values in columns.items()}
        for row in range(len(batch["pixels"]))
    ]


def _values(schema: LabelSchema, targets: NDArray[Any]) -> list[object]:
    if targets.dtype.kind == "f" and schema.kind in ("class", "classes"):  # shares, as of all images in a mixing feed
        return [None if (one < 0).any() else one for one in targets]
    return [_known(one) for one in schema.annotations(targets)]


def _known(annotation: Annotation) -> Annotation:
    return None if isinstance(annotation, np.ndarray) and (annotation == IGNORED).all() else annotation
