"""Carried: which images have a label for a task, and what they carry of each class, whatever the kind of task."""

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.material import Material

THINGS = {"class": "images", "classes": "images", "boxes": "boxes", "mask": "images"}
"""What classes are counted in, by kind of task."""


def labelled(material: Material, task: str) -> NDArray[np.bool_]:
    """Return (N,) whether each image has a label for a task."""
    match material.tasks[task].labels.kind:
        case "class":
            known = material.classes[task].tolist()
            return np.array([one >= 0 for one in known], dtype=bool)
        case "classes":
            return np.array([(one >= 0).all() for one in material.sets[task]], dtype=bool)
        case "boxes":
            return np.array([one is not None for one in material.boxes[task]], dtype=bool)
        case _:
            return np.array([one is not None for one in material.masks(task)], dtype=bool)


def carried(material: Material, task: str) -> NDArray[np.int64]:
    """Return (N, C) how much each image carries of each class: boxes, or one where it has or shows it."""
    schema = material.tasks[task].labels
    found = np.zeros((len(material.ids), len(schema.names)), dtype=np.int64)
    match schema.kind:
        case "class":
            rows = np.flatnonzero(material.classes[task] >= 0)
            found[rows, material.classes[task][rows]] = 1
        case "classes":
            found[:] = material.sets[task] == 1
        case "boxes":
            for row, boxes in enumerate(material.boxes[task]):
                if boxes is not None:
                    found[row] = np.bincount(boxes.labels, minlength=len(schema.names))
        case _:
            for row, mask in enumerate(material.masks(task)):
                if mask is not None:
                    found[row, [schema.index[name] for name in mask.shares if name in schema.index]] = 1
    return found
