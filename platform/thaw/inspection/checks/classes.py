"""Classes: how often each occurs in each split, which are missing from one, and which are too few to learn or to judge.

What is counted are images, and boxes where a task has boxes; a mask counts for every class that it shows.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.split import SPLITS
from thaw.inspection.carried import THINGS, carried, labelled
from thaw.inspection.finding import Finding
from thaw.inspection.material import Material
from thaw.inspection.told import named, set_aside, worst

GATES: tuple[str, ...] = ("classes_absent_from_train",)
NEEDS_VECTORS = False

LEAST, START = 10, 50
"""Training images, or boxes, of a class without which nothing is to be expected, and with which to begin. A rule of
thumb for pretrained models, for whoever plans what to label: Oracle Vision's documentation asks for at least 10 a class
and ideally 50, Microsoft Custom Vision's for 50 to start with. What is needed in the end, a learning curve tells."""

_UNBALANCED, _VERY = 10.0, 100.0
"""Times that the most frequent class exceeds the rarest. Buda et al. 2018, arXiv:1710.05381, find that harm grows from
the first on and is great at the second."""
_JUDGED = 10
"""Images of a class below which the share of them that is right says little: see `margin`."""
_Z = 1.96

_SET_ASIDE = {
    "listed_twice": ("the source names them more than once, and the first row is kept", "Keep one row of each image."),
    "no_label": ("they carry a label for none of the tasks", "Label them, or take them out of the source."),
    "several_classes": ("they carry several classes for a task that takes one", "Choose one, or use type multilabel."),
    "unknown_class": ("they carry a class that is not allowed", "Mend the name, or add it to the task's classes."),
}


@dataclass(frozen=True)
class Counts:
    """What the images of a task carry.

    Attributes:
        names: the classes.
        things: what is counted.
        images: split -> (C,) images that carry each class.
        found: split -> (C,) how much of each class.
        labelled: split -> images with a label.
    """

    task: str
    names: tuple[str, ...]
    things: str
    images: Mapping[str, NDArray[np.int64]]
    found: Mapping[str, NDArray[np.int64]]
    labelled: Mapping[str, int]

    @classmethod
    def of(cls, material: Material, task: str) -> "Counts":
        """Count what the images of a task carry."""
        schema, amounts, has = material.tasks[task].labels, carried(material, task), labelled(material, task)
        inside = {split: material.splits == split for split in SPLITS}
        return cls(
            task=task,
            names=schema.names,
            things=THINGS[schema.kind],
            images={split: (amounts[rows] > 0).sum(axis=0) for split, rows in inside.items()},
            found={split: amounts[rows].sum(axis=0) for split, rows in inside.items()},
            labelled={split: int(has[rows].sum()) for split, rows in inside.items()},
        )

    def which(self, chosen: NDArray[np.bool_]) -> list[str]:
        """Return the names of the chosen classes."""
        return [name for name, one in zip(self.names, chosen, strict=True) if one]

    def by_name(self, split: str, chosen: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Return how much of each class, or of the chosen ones, there is in a split."""
        wanted = self.names if chosen is None else self.which(chosen)
        amounts = dict(zip(self.names, self.found[split].tolist(), strict=True))
        return {name: amounts[name] for name in wanted}


def check(material: Material) -> Iterator[Finding]:
    """Yield what is wrong with the classes of every task, gates first."""
    counts = [Counts.of(material, task) for task in material.tasks]
    for one in counts:
        yield from _absent_from_train(material, one)
    yield from set_aside(material, _SET_ASIDE, "labels", ("image", "images"))
    for one in counts:
        yield from _absent_from_others(one)
        yield from _few(one)
        yield from _unbalanced(one)
        yield from _hard_to_judge(one)
        yield from _told(one)


def margin(images: int) -> float:
    """Return how far a share that is seen on so many images may be from the true one, at most, 19 times out of 20.

    Source: the interval of Wilson 1927, JASA 22, at a share of one half, where it is widest.
    """
    return _Z / (2 * math.sqrt(images + _Z**2))


def missing(found: Mapping[str, int]) -> dict[str, int]:
    """Return how many more training images, or boxes, each class needs to begin with; see `START`."""
    return {name: START - count for name, count in found.items() if count < START}


def _absent_from_train(material: Material, counts: Counts) -> Iterator[Finding]:
    if not counts.labelled["train"]:
        return  # said of the task as a whole; see thaw.inspection.checks.partial
    elsewhere = counts.images["val"] + counts.images["test"]
    absent = (counts.images["train"] == 0) & (elsewhere > 0)
    if absent.any():
        carry = carried(material, counts.task)[:, absent].sum(axis=1)
        names, splits = counts.which(absent), material.splits
        yield Finding(
            name="classes_absent_from_train",
            level="gate",
            task=counts.task,
            told=f"{len(names):,} of {len(absent):,} classes of {counts.task} occur in val or test and never in train: "
            f"{named(names)}.",
            advice="Divide the images anew with data.split.given: false, add training images, or leave these classes "
            f"out of tasks.{counts.task}.classes: they can only be answered wrongly.",
            count=len(names),
            cases=worst(material.ids, carry > 0, carry.astype(float), lambda row: str(splits[row])),
            figures={split: counts.by_name(split, absent) for split in SPLITS},
        )


def _absent_from_others(counts: Counts) -> Iterator[Finding]:
    for split in ("val", "test"):
        absent = (counts.images[split] == 0) & (counts.images["train"] > 0)
        if counts.labelled[split] and absent.any():
            names = counts.which(absent)
            yield Finding(
                name=f"classes_absent_from_{split}",
                level="warning",
                task=counts.task,
                told=f"{len(names):,} of {len(absent):,} classes of {counts.task} never occur in {split}: "
                f"{named(names)}.",
                advice="Divide the images anew with data.split.given: false, or keep in mind that no figure says how "
                "well these classes are learnt.",
                count=len(names),
                figures={"train": counts.by_name("train", absent)},
            )


def _few(counts: Counts) -> Iterator[Finding]:
    lacking = missing(counts.by_name("train"))
    if counts.labelled["train"] and lacking:
        hopeless = counts.which(counts.found["train"] < LEAST)
        least = f", and {len(hopeless):,} fewer than {LEAST}: {named(hopeless)}" if hopeless else ""
        yield Finding(
            name="classes_few_in_train",
            level="warning" if hopeless else "note",
            task=counts.task,
            told=f"{len(lacking):,} of {len(counts.names):,} classes of {counts.task} have fewer than {START} training "
            f"{counts.things}{least}.",
            advice=f"As a rule of thumb begin with {START} of each, here {sum(lacking.values()):,} more in all; a "
            "learning curve tells what they would bring.",
            count=len(lacking),
            figures={"start": START, "more": lacking},
        )


def _unbalanced(counts: Counts) -> Iterator[Finding]:
    found = counts.found["train"]
    present = found[found > 0]
    if len(present) < 2 or present.max() < _UNBALANCED * present.min():
        return
    most, least = counts.names[int(found.argmax())], counts.names[int(np.where(found > 0, found, found.max()).argmin())]
    times = float(present.max() / present.min())
    yield Finding(
        name="classes_unbalanced",
        level="warning" if times >= _VERY else "note",
        task=counts.task,
        told=f"In train, {most} is {times:,.0f} times as frequent as {least} for {counts.task}: {present.max():,} to "
        f"{present.min():,} {counts.things}.",
        advice="Judge by figures of single classes; add what is rare, or, where an image has one class, have it drawn "
        "more often with train.sampling: classes.",
        count=1,
        figures={"times": round(times, 2), "train": counts.by_name("train")},
    )


def _hard_to_judge(counts: Counts) -> Iterator[Finding]:
    for split in ("val", "test"):
        images = counts.images[split]
        few = (images > 0) & (images < _JUDGED)
        if few.any():
            yield Finding(
                name=f"classes_few_in_{split}",
                level="note",
                task=counts.task,
                told=f"{int(few.sum()):,} of {len(few):,} classes of {counts.task} have fewer than {_JUDGED} images in "
                f"{split}: {named(counts.which(few))}.",
                advice=f"Do not read figures of these classes alone: a share of {_JUDGED} images is known to "
                f"{100 * margin(_JUDGED):.0f} points either way.",
                count=int(few.sum()),
                figures={"images": dict(zip(counts.which(few), images[few].tolist(), strict=True))},
            )


def _told(counts: Counts) -> Iterator[Finding]:
    images = ", ".join(f"{counts.labelled[split]:,} in {split}" for split in SPLITS)
    yield Finding(
        name="class_counts",
        level="note",
        task=counts.task,
        told=f"{counts.task} has {len(counts.names):,} classes on labelled images: {images}.",
        advice="Nothing needs to be done.",
        count=len(counts.names),
        figures={split: counts.by_name(split) for split in SPLITS},
    )
