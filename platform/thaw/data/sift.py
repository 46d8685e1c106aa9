"""Sifting: which images are kept, with what they carry for each task, and what is set aside with a reason.

A pure function of what a source says and what was found of the pixels (see thaw.data.check). Here is what only the
experiment decides: which labels are needed, and which classes are known. An image is set aside when it cannot be
decoded, is listed twice, carries no label for any task, several classes where one is asked, or a class name that is
not among ``tasks.X.classes``. Boxes of other classes are set aside alone (``box_unknown_class``), and a mask that shows
another class as a whole (``mask_unknown_class``); the image stays.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thaw.config.experiment import Experiment
from thaw.data.check import Row, shown
from thaw.data.labels import as_names
from thaw.data.sources.contract import RawBoxes, RawLabel, Reference

Aside = dict[str, str]
"""What was set aside: ``id`` of the image, ``reason`` and ``detail``."""


@dataclass(frozen=True)
class CheckedMask:
    """A checked mask: where it is, the hash of its pixels, what its values mean and which classes it shows."""

    id: str
    sha256: str
    names: Mapping[int, str]
    found: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """One image that is kept, with what it carries for each task."""

    reference: Reference
    fact: Row
    labels: Mapping[str, RawLabel | CheckedMask]


@dataclass
class Tally:
    """How many things of one kind were kept, and how many set aside, by reason."""

    kept: int = 0
    aside: Counter[str] = field(default_factory=Counter)


Tallies = dict[tuple[str, str], Tally]
"""Task and kind of thing (``boxes``, ``lists of boxes`` or ``masks``) -> what became of them."""


@dataclass(frozen=True)
class Sifted:
    """The images by what becomes of them, and what was set aside of good ones."""

    good: dict[str, Kept] = field(default_factory=dict)
    rejected: list[Aside] = field(default_factory=list)
    set_aside: list[Aside] = field(default_factory=list)
    tallies: Tallies = field(default_factory=dict)


def sift(experiment: Experiment, references: Sequence[Reference], facts: Mapping[str, Row]) -> Sifted:
    """Divide the images into those that can be used and those set aside, with reason and detail.

    Args:
        facts: image id -> what `check.examine` found.
    """
    sifted, seen = Sifted(), set[str]()
    for one in references:
        fact = facts[one.id]
        labels, aside = _labels(experiment, one, fact)
        reason, detail = (fact["reason"], fact["detail"]) if fact["reason"] else _mislabelled(experiment, labels)
        if one.id in seen:
            reason, detail = "listed_twice", "the source names this image more than once; the first row is kept"
        else:
            sifted.set_aside.extend(aside)
            _count(sifted.tallies, experiment, fact, labels)
        seen.add(one.id)
        if reason is None:
            sifted.good[one.id] = Kept(one, fact, labels)
        else:
            sifted.rejected.append({"id": one.id, "reason": reason, "detail": detail})
    return sifted


def said_of(label: RawLabel | CheckedMask) -> RawLabel:
    """Return a label with all names that it knows of."""
    return tuple(label.names.values()) if isinstance(label, CheckedMask) else label


def shown_of(label: RawLabel | CheckedMask) -> RawLabel:
    """Return a label with the names that the image carries."""
    return label.found if isinstance(label, CheckedMask) else label


def covered(experiment: Experiment, one: Kept) -> dict[str, Row]:
    """Return the coverage of each mask that is kept, by task, and how it goes with boxes, by task too."""
    columns = {task: experiment.column(task) for task in experiment.tasks}
    boxes = {task: columns[task] for task, options in experiment.tasks.items() if options.annotation == "boxes"}
    found = {}
    for task, label in one.labels.items():
        if isinstance(label, CheckedMask):
            coverage = one.fact["labels"][columns[task]]["coverage"]
            beside = coverage["agreements"]
            mine = {other: beside[column] for other, column in boxes.items() if column in beside}
            found[task] = coverage | {"agreements": mine}
    return found


def _labels(experiment: Experiment, one: Reference, fact: Row) -> tuple[dict[str, RawLabel | CheckedMask], list[Aside]]:
    """Return what can be used of an image for each task, and what cannot of its boxes and masks."""
    labels: dict[str, RawLabel | CheckedMask] = {}
    aside = [{"id": one.id, "reason": bad["reason"], "detail": bad["detail"]} for bad in fact.get("set_aside", ())]
    for task, options in experiment.tasks.items():
        column = experiment.column(task)
        found = fact.get("labels", {}).get(column)
        bad: list[str] = []
        if options.annotation == "boxes":
            labels[task], bad = _known_boxes(found, options.classes)
        elif options.annotation == "mask":
            labels[task], bad = _known_mask(found, options.classes)
        else:
            label = one.labels.get(column)
            labels[task] = None if label == () and options.annotation == "class" else label  # an empty set is no class
        kind = "box" if options.annotation == "boxes" else "mask"
        where = f"not in tasks.{task}.classes"
        aside += [{"id": one.id, "reason": f"{kind}_unknown_class", "detail": f"{what}, {where}"} for what in bad]
    return labels, aside


def _count(tallies: Tallies, experiment: Experiment, fact: Row, labels: Mapping[str, RawLabel | CheckedMask]) -> None:
    """Add what became of the boxes and masks of one image, for each task."""
    for task, options in experiment.tasks.items():
        column = experiment.column(task)
        found, label = fact.get("labels", {}).get(column), labels[task]
        for bad in fact.get("set_aside", ()):
            if bad["column"] == column:
                _tally(tallies, task, bad["reason"]).aside[bad["reason"]] += 1
        if isinstance(label, RawBoxes):
            _tally(tallies, task, "boxes_unreadable").kept += 1
            _tally(tallies, task, "box_unknown_class").kept += len(label.names)
            _tally(tallies, task, "box_unknown_class").aside["box_unknown_class"] += len(found["names"]) - len(
                label.names
            )
        elif options.annotation == "mask" and found is not None:
            tally = _tally(tallies, task, "mask_unknown_class")
            tally.kept += label is not None
            tally.aside["mask_unknown_class"] += label is None


_THINGS = {"box": "boxes", "boxes": "lists of boxes", "mask": "masks"}


def _tally(tallies: Tallies, task: str, reason: str) -> Tally:
    """Return the tally of the kind of thing that a reason is of, by its first word."""
    return tallies.setdefault((task, _THINGS[reason.partition("_")[0]]), Tally())


def _known_boxes(found: Row | None, classes: Sequence[str] | None) -> tuple[RawBoxes | None, list[str]]:
    """Return the boxes of known classes, and a description of each other one."""
    if found is None:
        return None, []
    pairs = list(zip(map(tuple, found["boxes"]), found["names"], strict=True))
    good = [(box, name) for box, name in pairs if classes is None or name in classes]
    bad = [f"{name!r} {shown(box)}" for box, name in pairs if classes is not None and name not in classes]
    return RawBoxes(tuple(box for box, _ in good), tuple(name for _, name in good)), bad


def _known_mask(found: Row | None, classes: Sequence[str] | None) -> tuple[CheckedMask | None, list[str]]:
    """Return the mask if all classes in it are known, else a description of it."""
    if found is None:
        return None, []
    strange = [name for name in found["found"] if classes is not None and name not in classes]
    if strange:
        return None, [f"{found['id']} shows {strange[0]!r}"]
    names = {int(value): name for value, name in found["names"].items()}
    return CheckedMask(found["id"], found["sha256"], names, tuple(found["found"])), []


def _mislabelled(experiment: Experiment, labels: Mapping[str, RawLabel | CheckedMask]) -> tuple[str | None, str]:
    """Return why the labels of an image cannot be used, if so."""
    if all(label is None for label in labels.values()):
        return "no_label", "carries a label for none of the tasks"
    for task, options in experiment.tasks.items():
        label = labels[task]
        if not isinstance(label, str | tuple):
            continue
        names = as_names(label)
        if options.annotation == "class" and len(names) > 1:
            return "several_classes", f"task {task} takes one class; found {', '.join(names)}"
        strange = [name for name in names if options.classes is not None and name not in options.classes]
        if strange:
            return "unknown_class", f"task {task}: {strange[0]!r} is not in tasks.{task}.classes"
    return None, ""
