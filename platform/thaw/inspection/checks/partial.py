"""Partial: which share of the images each task has a label for, and whether splits are large enough to measure on.

Missing labels are normal, and cost a task nothing; where they are missing altogether, nothing is learnt or measured.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from thaw.data.split import SPLITS
from thaw.inspection.carried import labelled
from thaw.inspection.checks.classes import margin
from thaw.inspection.finding import Finding
from thaw.inspection.material import Material

GATES: tuple[str, ...] = ("split_empty", "task_unlabelled_in_train")
NEEDS_VECTORS = False

_ENOUGH = 100
"""Labelled images of a split from which a share is known to 10 points either way."""

Labelled = Mapping[str, NDArray[np.bool_]]
"""Task -> (N,) which images have a label."""


def check(material: Material) -> Iterator[Finding]:
    """Yield what splits and tasks lack, gates first."""
    has = {task: labelled(material, task) for task in material.tasks}
    yield from _empty_splits(material)
    for split in SPLITS:
        yield from _unlabelled(material, has, split)
    yield from _small(material, has)
    yield from _partial(material, has)
    yield from _apart(has)


def _empty_splits(material: Material) -> Iterator[Finding]:
    empty = [split for split in SPLITS if not (material.splits == split).any()]
    if empty:
        yield Finding(
            name="split_empty",
            level="gate",
            told=f"There is no image in {' and '.join(empty)}.",
            advice="Add images, or have the split made with data.split.given: false.",
            count=len(empty),
        )


def _unlabelled(material: Material, has: Labelled, split: str) -> Iterator[Finding]:
    """Yield tasks that have no label at all in a split; without one in train a task learns nothing."""
    inside = material.splits == split
    for task, rows in has.items():
        if inside.any() and not rows[inside].any():
            yield Finding(
                name=f"task_unlabelled_in_{split}",
                level="gate" if split == "train" else "warning",
                task=task,
                told=f"None of the {int(inside.sum()):,} images in {split} has a label for {task}.",
                advice="Label some, or leave the task out."
                if split == "train"
                else f"Label some, or keep in mind that nothing is measured of {task} in {split}; data.split.given: "
                "false divides the images anew.",
                count=int(inside.sum()),
            )


def _small(material: Material, has: Labelled) -> Iterator[Finding]:
    for split in ("val", "test"):
        images = {task: int(rows[material.splits == split].sum()) for task, rows in has.items()}
        few = {task: count for task, count in images.items() if 0 < count < _ENOUGH}
        if few:
            told = ", ".join(f"{task} on {count:,}" for task, count in few.items())
            yield Finding(
                name=f"{split}_small",
                level="note",
                told=f"Few images in {split} measure {told}: a share of {min(few.values()):,} is known to "
                f"{100 * margin(min(few.values())):.0f} points either way.",
                advice="Take no smaller difference between two models for one that is there, or add images.",
                count=len(few),
                figures={"margins": {task: round(margin(count), 4) for task, count in few.items()}},
            )


def _partial(material: Material, has: Labelled) -> Iterator[Finding]:
    for task, rows in has.items():
        sizes = {split: material.splits == split for split in SPLITS}
        shares = {split: float(rows[inside].mean()) for split, inside in sizes.items() if inside.any()}
        if rows.any() and not rows.all():
            told = ", ".join(f"{share:.1%} of the images in {split}" for split, share in shares.items())
            yield Finding(
                name="labels_partial",
                level="note",
                task=task,
                told=f"{task} has a label on {told}.",
                advice="Nothing needs to be done: an image without a label costs its task nothing. Where few have one, "
                "train.sampling: tasks shows them more often.",
                count=int((~rows).sum()),
                figures={split: round(share, 4) for split, share in shares.items()},
            )


def _apart(has: Labelled) -> Iterator[Finding]:
    for (one, first), (other, second) in combinations(has.items(), 2):
        if first.any() and second.any() and not (first & second).any():
            yield Finding(
                name="tasks_share_no_image",
                level="note",
                told=f"No image has a label for both {one} and {other}.",
                advice="They may be told apart by where their images come from, and then help each other little: label "
                "some images for both.",
                count=int(first.sum() + second.sum()),
                figures={"tasks": [one, other]},
            )
