"""Gathering: what is known of a dataset's images, read from beside the shards and out of their columns of labels.

No image is read. Vectors are computed elsewhere (see thaw.probe.vectors) and handed in.
"""

import json
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from thaw import bundle
from thaw.config.experiment import AnnotationKind, Experiment
from thaw.data import dataset, facts
from thaw.data.dataset import Dataset
from thaw.data.labels import Boxes
from thaw.inspection.material import Material
from thaw.storage import Root

T = TypeVar("T")


def gather(
    root: Root, experiment: Experiment, prepared: Dataset, vectors: NDArray[np.float32] | None = None
) -> Material:
    """Return everything that is known of a prepared dataset's images.

    Args:
        vectors: (N, D) as `thaw.probe.vectors.on_ray.of_all` returns them; None where they are not to be had.

    Raises:
        DataError: the dataset was prepared by an older Thaw.
    """
    known = facts.read(root, prepared)

    def of_kind(kind: AnnotationKind, read: Callable[[str, str], T]) -> Mapping[str, list[T]]:
        """Return what ``read`` gives of every split, by task of one kind."""
        tasks = (task for task, schema in prepared.labels.items() if schema.kind == kind)
        return {task: [read(split, task) for split in prepared.splits] for task in tasks}

    classes = of_kind("class", lambda split, task: dataset.classes_of(root, prepared, split, task))
    sets = of_kind("classes", lambda split, task: dataset.sets_of(root, prepared, split, task))
    boxes = of_kind("boxes", lambda split, task: [*dataset.boxes_of(root, prepared, split, task)])
    sizes = list(zip(known["width"].to_pylist(), known["height"].to_pylist(), strict=True))
    return Material(
        experiment=experiment,
        prepared=prepared,
        facts=known,
        tasks=bundle.build_tasks(experiment.tasks, prepared.labels),
        rejected=_rejected(root, prepared),
        classes={task: np.concatenate(parts) for task, parts in classes.items()},
        sets={task: np.concatenate(parts) for task, parts in sets.items()},
        boxes={
            task: tuple(_upright(one, size) for one, size in zip(chain.from_iterable(parts), sizes, strict=True))
            for task, parts in boxes.items()
        },
        vectors=vectors,
    )


def _upright(stored: tuple[int, int, Boxes | None], size: tuple[int, int]) -> Boxes | None:
    """Return boxes in the pixels of the image as it came, which may be stored smaller."""
    *kept, boxes = stored
    if boxes is None or tuple(kept) == size:
        return boxes
    scale = np.array([size[0] / kept[0], size[1] / kept[1]] * 2)
    return Boxes((boxes.boxes * scale).astype(np.float32), boxes.labels)


def _rejected(root: Root, prepared: Dataset) -> tuple[dict[str, Any], ...]:
    place = f"{prepared.path}/rejected.jsonl"
    text = root.read_bytes(place).decode() if root.exists(place) else ""
    return tuple(json.loads(line) for line in text.split("\n") if line)  # a detail may hold other ends of lines
