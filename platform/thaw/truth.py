"""Truth: what an image carries for a task, in the form of an answer, to be drawn beside or in place of one."""

from collections.abc import Mapping

import numpy as np

from thaw.data import rle
from thaw.data.labels import Boxes, LabelSchema
from thaw.tasks.contract import Answer, Marks


class Truth(Answer):
    """The annotation of one image for one task."""

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
            case np.ndarray():
                masks = {name: rle.encode(truth == place) for place, name in enumerate(names) if place in truth}
                return Marks(masks=masks, classes=names)
        return Marks()
