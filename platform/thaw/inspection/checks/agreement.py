"""Agreement: where the masks and the boxes of the same images do not say the same.

They are held against each other only where they usually agree, for the box of a head and the mask of the whole animal
are not meant to. What is nothing to a mask is told in thaw.inspection.checks.masks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.data.coverage import Agreement, Coverage
from thaw.inspection.finding import Finding
from thaw.inspection.material import Material
from thaw.inspection.told import are, worst
from thaw.tasks.segmentation import Task

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = False

_USUAL = 0.5
"""Boxes are held against masks where less than this share of them disagrees."""
_SAME, _OUTSIDE = 0.05, 0.25
"""Shares of what a mask shows outside all boxes: at most the first on half of the images where both are of the same
things, and more than the second where a box is missing or misplaced."""


@dataclass(frozen=True)
class _Pair:
    """The masks of one task, the boxes of another, and which images have both.

    Attributes:
        rows: images with both.
        masks, agreements: of these, one each.
    """

    material: Material
    task: Task
    boxes: str
    rows: NDArray[np.int64]
    masks: Sequence[Coverage]
    agreements: Sequence[Agreement]

    @property
    def background(self) -> str:
        """The class that is nothing; no class has the empty name."""
        return self.task.background or ""

    def finding(
        self, chosen: NDArray[np.bool_], by: NDArray[np.float64], note: Callable[[float], str], **said: Any
    ) -> Finding:
        """Return what is said of the chosen among these images, those of the highest value first."""
        whole, values = np.zeros((2, len(self.material.ids)))
        whole[self.rows], values[self.rows] = chosen, by
        cases = worst(self.material.ids, whole > 0, values, lambda row: note(float(values[row])))
        return Finding(level="warning", task=self.task.name, cases=cases, **said)


def check(material: Material) -> Iterator[Finding]:
    """Yield where masks and boxes disagree."""
    for task in material.tasks.values():
        if isinstance(task, Task):
            masks = material.masks(task.name)
            for boxes in material.boxes:
                pair = _pair(material, task, masks, boxes)
                if len(pair.rows):
                    yield from _other_class(pair)
                    if task.background is not None:
                        yield from _on_nothing(pair)
                        yield from _outside(pair)


def _pair(material: Material, task: Task, masks: Sequence[Coverage | None], boxes: str) -> _Pair:
    both = [(row, one, one.agreements[boxes]) for row, one in enumerate(masks) if one and boxes in one.agreements]
    rows = np.array([row for row, _, _ in both], dtype=np.int64)
    return _Pair(material, task, boxes, rows, [one for _, one, _ in both], [one for _, _, one in both])


def _other_class(pair: _Pair) -> Iterator[Finding]:
    """Yield boxes of a class that the mask knows, where it shows something, but nothing of that class."""
    wrong = np.array([sum(one.missed.values()) - one.missed.get(pair.background, 0) for one in pair.agreements])
    count, named = int(wrong.sum()), sum(one.named for one in pair.agreements)
    if 0 < count < _USUAL * named:
        yield pair.finding(
            wrong > 0,
            wrong.astype(float),
            lambda value: f"{value:.0f} of another class",
            name="boxes_of_another_class_than_mask",
            told=f"{are(count, named, f'boxes of {pair.boxes}')} of another class than what {pair.task.name} shows "
            "below them.",
            advice="Look which of the two is right, and mend the other.",
            count=count,
        )


def _on_nothing(pair: _Pair) -> Iterator[Finding]:
    empty = np.array([one.alone.get(pair.background, 0) for one in pair.agreements])
    count, boxes = int(empty.sum()), sum(one.boxes for one in pair.agreements)
    if 0 < count < _USUAL * boxes:
        yield pair.finding(
            empty > 0,
            empty.astype(float),
            lambda value: f"{value:.0f} on {pair.background}",
            name="boxes_on_background",
            told=f"{are(count, boxes, f'boxes of {pair.boxes}')} drawn where {pair.task.name} shows {pair.background} "
            f"alone, on {int((empty > 0).sum()):,} of {len(empty):,} images.",
            advice="Look whether the mask misses something or the box is too much: a model that learns both tasks is "
            "told two things.",
            count=count,
        )


def _outside(pair: _Pair) -> Iterator[Finding]:
    nothing = pair.background
    shown = np.array([sum(share for name, share in one.shares.items() if name != nothing) for one in pair.masks])
    free = np.array([sum(share for name, share in one.outside.items() if name != nothing) for one in pair.agreements])
    shares = free[shown > 0] / shown[shown > 0]
    outside = np.zeros(len(shown))
    outside[shown > 0] = shares
    far = outside > _OUTSIDE
    if far.any() and np.median(shares) <= _SAME:
        yield pair.finding(
            far,
            outside,
            lambda value: f"{value:.0%} outside",
            name="masks_outside_boxes",
            told=f"{are(int(far.sum()), len(far), f'masks of {pair.task.name}')} more than {_OUTSIDE:.0%} outside of "
            f"all boxes of {pair.boxes}; usual is {np.median(shares):.0%}.",
            advice="Look whether a box is missing or misplaced.",
            count=int(far.sum()),
            figures={"median_share": round(float(np.median(shares)), 4)},
        )
