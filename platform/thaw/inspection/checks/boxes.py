"""Boxes: which cannot be used, and which are given twice.

How large they are is the business of thaw.inspection.checks.box_sizes.
"""

from collections.abc import Iterator

import numpy as np

from thaw.inspection.all_boxes import AllBoxes
from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.material import Material
from thaw.inspection.told import are, set_aside
from thaw.metrics.boxes import iou

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = False

_SET_ASIDE = {
    "box_not_finite": ("a corner is no number", "Mend them where the boxes come from."),
    "box_degenerate": (
        "less than 1 pixel is left of them one way",
        "Draw them anew or delete them: something may be there.",
    ),
    "box_outside": ("they lie outside of their image", "Check that boxes and images belong together and are upright."),
    "box_unknown_class": ("their class is not allowed", "Mend its name, or add it to the task's classes."),
    "boxes_unreadable": ("they are a whole list, which cannot be read", "Mend or replace the files named."),
}

_SAME = 0.95
"""Overlap (intersection over union) from which two boxes are one: drawn by two people, boxes of one thing overlap less,
and of two things in a crowd far less."""


def check(material: Material) -> Iterator[Finding]:
    """Yield what is wrong with the boxes of every task."""
    yield from set_aside(material, _SET_ASIDE, "box", ("box", "boxes"))
    for task in material.boxes:
        yield from _repeated(material, AllBoxes.of(material, task))


def _repeated(material: Material, boxes: AllBoxes) -> Iterator[Finding]:
    """Yield boxes that are one, of the same class or of two."""
    pairs = list(_pairs(boxes))
    twice = [(one, other) for one, other in pairs if boxes.labels[one] == boxes.labels[other]]
    torn = [(one, other) for one, other in pairs if boxes.labels[one] != boxes.labels[other]]
    if twice:
        repeated = len({other for _, other in twice})
        yield Finding(
            name="boxes_twice",
            level="warning",
            task=boxes.task,
            told=f"{are(repeated, len(boxes.rows), 'boxes')} given twice for {boxes.task}: another of the same class "
            f"overlaps by more than {_SAME:.0%}.",
            advice="Delete one of each pair: a model that finds the thing once is counted wrong for the other.",
            count=repeated,
            cases=_pairs_shown(material, boxes, twice),
        )
    if torn:
        yield Finding(
            name="boxes_of_two_classes",
            level="warning",
            task=boxes.task,
            told=f"{are(len(torn), len(boxes.rows), 'boxes')} given once more for {boxes.task} with another class.",
            advice="Decide which class is right; if a thing can have two, make a class of the two.",
            count=len(torn),
            cases=_pairs_shown(material, boxes, torn),
        )


def _pairs(boxes: AllBoxes) -> Iterator[tuple[int, int]]:
    """Yield places of boxes of one image that are nearly the same, the earlier first."""
    first = 0
    for count in np.maximum(boxes.counts, 0).tolist():
        for one in range(first, first + count - 1):
            others = boxes.boxes[one + 1 : first + count]
            for other in np.flatnonzero(iou(boxes.boxes[one], others) > _SAME).tolist():
                yield one, one + 1 + other
        first += count


def _pairs_shown(material: Material, boxes: AllBoxes, pairs: list[tuple[int, int]]) -> tuple[Case, ...]:
    """Return one case an image, those with most pairs first."""
    by_image: dict[int, list[str]] = {}
    for one, other in pairs:
        by_image.setdefault(int(boxes.rows[one]), []).append(f"{boxes.named(one)} and {boxes.named(other)}")
    most = sorted(by_image.items(), key=lambda item: -len(item[1]))[:SHOWN]
    ids = material.ids
    return tuple(Case(images=(ids[row],), note="; ".join(notes[:3])) for row, notes in most)
