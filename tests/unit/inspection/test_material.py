"""Material: rows of facts, labels and vectors belong to the same images."""

import numpy as np

from material import boxes, images, material


def test_rows_are_in_the_order_of_the_splits_with_all_that_belongs_to_them():
    rows = [*images(1, "test", width=9), *images(2, "train"), *images(1, "val")]
    tasks = {"kind": {"type": "classification"}, "tags": {"type": "multilabel"}, "found": {"type": "detection"}}
    made = material(
        rows,
        tasks,
        labels={"kind": [1, 0, None, 1], "tags": [(0, 1), (), None, (1,)], "found": [None, boxes(), None, None]},
        vectors=np.arange(4)[:, None],
    )
    assert made.ids == ["train-000", "train-001", "val-000", "test-000"]
    assert made.splits.tolist() == ["train", "train", "val", "test"]
    assert made.facts["width"].to_pylist() == [64, 64, 64, 9]
    assert made.classes["kind"].tolist() == [0, -1, 1, 1]
    assert made.sets["tags"].tolist() == [[0, 0], [-1, -1], [0, 1], [1, 1]]
    assert [one is None for one in made.boxes["found"]] == [False, True, True, True]
    assert made.vectors is not None
    assert made.vectors[:, 0].tolist() == [1, 2, 3, 0]
