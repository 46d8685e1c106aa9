"""Carried: what images have of each class is counted alike for every kind of task."""

import numpy as np

from material import boxes, images, material
from thaw.inspection.carried import carried, labelled

TASKS = {
    "kind": {"type": "classification"},
    "tags": {"type": "multilabel"},
    "found": {"type": "detection"},
    "area": {"type": "segmentation"},
}
LABELS = {
    "kind": [1, None, 0],
    "tags": [(0, 1), (), None],
    "found": [boxes((0, 0, 9, 9, 1), (1, 1, 9, 9, 1), (2, 2, 9, 9, 0)), None, boxes()],
    "area": [None, np.ones((4, 4), np.uint8), np.eye(4, dtype=np.uint8)],
}


def test_labelled_images_and_what_they_carry():
    made = material(images(3), TASKS, labels=LABELS)
    assert {task: labelled(made, task).tolist() for task in TASKS} == {
        "kind": [True, False, True],
        "tags": [True, True, False],
        "found": [True, False, True],
        "area": [False, True, True],
    }
    assert {task: carried(made, task).tolist() for task in TASKS} == {
        "kind": [[0, 1], [0, 0], [1, 0]],
        "tags": [[1, 1], [0, 0], [0, 0]],
        "found": [[1, 2], [0, 0], [0, 0]],
        "area": [[0, 0], [0, 1], [1, 1]],
    }
