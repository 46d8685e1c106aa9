"""Masks: which cannot be used, are full of specks, or show nothing.

What is nothing, the background, is the class that ``tasks.X.background`` names, or the one that is called so; where no
class is, nothing is said of it. How masks go with boxes is the business of thaw.inspection.checks.agreement.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from thaw.data.coverage import SPECK, Coverage
from thaw.inspection.finding import Finding
from thaw.inspection.material import Material
from thaw.inspection.told import are, set_aside, worst
from thaw.tasks.segmentation import Task

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = False

_SET_ASIDE = {
    "mask_unreadable": ("they cannot be read", "Mend or replace the files named."),
    "mask_size": ("they are of another size than their image", "Make them anew at the size of the upright image."),
    "mask_value": (
        "pixels have a value that nobody named",
        "Name it in data.source, or find out where it comes from: JPEG and smooth resizing make values up.",
    ),
    "mask_unknown_class": ("they show a class that is not allowed", "Add it to the task's classes, or mend the masks."),
}

_SPECKS = 10
"""Specks in one mask that are no slips of a hand, but left by a threshold, by compression or by resizing."""


def check(material: Material) -> Iterator[Finding]:
    """Yield what is wrong with the masks of every task."""
    yield from set_aside(material, _SET_ASIDE, "mask", ("mask", "masks"))
    for task in material.tasks.values():
        if isinstance(task, Task):
            masks = material.masks(task.name)
            known = [one for one in masks if one is not None]
            if known:
                yield from _speckled(material, task, masks, known)
                yield from _empty(material, task, masks, known)
                yield from _shares(task, known)


def _speckled(
    material: Material, task: Task, masks: Sequence[Coverage | None], known: Sequence[Coverage]
) -> Iterator[Finding]:
    """Yield masks with many specks; where most have them, they may be what the set is about."""
    specks = np.array([sum(one.specks.values()) if one else 0 for one in masks], dtype=np.float64)
    usual = float(np.median([sum(one.specks.values()) for one in known]))
    chosen = specks >= _SPECKS
    if chosen.any():
        by_class = {name: sum(one.specks.get(name, 0) for one in known) for name in task.labels.names}
        yield Finding(
            name="masks_speckled",
            level="note" if usual >= _SPECKS else "warning",
            task=task.name,
            told=f"{are(int(chosen.sum()), len(known), 'masks')} speckled for {task.name}: {_SPECKS} or more separate "
            f"parts of at most {SPECK} pixels.",
            advice="Take such parts out where things are never that small, and resize masks by nearest pixel alone.",
            count=int(chosen.sum()),
            cases=worst(material.ids, chosen, specks, lambda row: f"{specks[row]:,.0f} specks"),
            figures={"median": usual, "specks": {name: count for name, count in by_class.items() if count}},
        )


def _empty(
    material: Material, task: Task, masks: Sequence[Coverage | None], known: Sequence[Coverage]
) -> Iterator[Finding]:
    empty = np.array([one is not None and one.shares.keys() == {task.background} for one in masks])
    if empty.any():
        splits = material.splits
        yield Finding(
            name="masks_empty",
            level="note",
            task=task.name,
            told=f"{are(int(empty.sum()), len(known), 'masks')} empty for {task.name}, with {task.background} alone.",
            advice="Look whether there is truly nothing; if so, keep them: they teach the model to answer so.",
            count=int(empty.sum()),
            cases=worst(material.ids, empty, np.zeros(len(empty)), lambda row: str(splits[row])),
        )


def _shares(task: Task, known: Sequence[Coverage]) -> Iterator[Finding]:
    """Yield which share of the pixels is of which class."""
    shares = {name: float(np.mean([one.shares.get(name, 0.0) for one in known])) for name in task.labels.names}
    rare = min(shares, key=lambda name: shares[name])
    yield Finding(
        name="mask_shares",
        level="note",
        task=task.name,
        told=f"{rare} is the rarest class of {task.name}: {shares[rare]:.1%} of the pixels of {len(known):,} masks.",
        advice="Nothing needs to be done.",
        count=len(known),
        figures={
            "shares": {name: round(share, 5) for name, share in shares.items()},
            "without_label": round(max(0.0, 1 - sum(shares.values())), 5),
        },
    )
