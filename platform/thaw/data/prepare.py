"""Preparing a dataset, step by step: plan it, from what was found of every image, and judge the plan.

Pure functions of plain data, so that each can run on any node. Bad input never loses good input: what cannot
be used is set aside with a reason, and stops the whole only past a share that the user sets. What the pixels decide is
thaw.data.check's, the content of shards thaw.data.shards's.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thaw import catalog
from thaw.config.experiment import AnnotationKind, Experiment, TaskOptions
from thaw.config.parts import Part
from thaw.data import dataset, split
from thaw.data.check import Row
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import LabelSchema, as_names, counts
from thaw.data.sift import Aside, CheckedMask, Kept, Sifted, Tallies, covered, said_of, shown_of, sift
from thaw.data.sources.contract import RawBoxes, RawLabel, RawMask, Reference, Source, UnreadBoxes
from thaw.errors import DataError

_NAMED = 5
"""Class names in one warning."""


@dataclass(frozen=True)
class Plan:
    """A dataset that is about to be written.

    Attributes:
        dataset: its description.
        rows: shard file -> the images in it.
        facts: what was measured of every image, in the order of the shards.
        rejected: the images that were set aside.
        set_aside: boxes and masks that were set aside, of images that may well be good.
        tallies: how many of them were set aside, and how many kept, by task.
    """

    dataset: Dataset
    rows: dict[str, list[Row]]
    facts: list[Row]
    rejected: list[Aside]
    set_aside: list[Aside]
    tallies: Tallies


def open_source(options: Part) -> Source:
    """Return the source that ``data.source`` describes."""
    source: Source = catalog.part("data.sources", options.type).Source(options)
    return source


def plan(experiment: Experiment, references: Sequence[Reference], facts: Sequence[Row]) -> Plan:
    """Return the dataset that the images make, and what had to be set aside.

    Args:
        facts: what `check.examine` found, in any order.

    Raises:
        DataError: a task's column does not exist or holds something else, classes or a split lack images.
    """
    check_columns(experiment, references)
    sifted = sift(experiment, references, {fact["id"]: fact for fact in facts})
    good = sorted(sifted.good.values(), key=lambda one: one.reference.id)
    labels = {
        task: LabelSchema.learn(task, options.annotation, (said_of(one.labels[task]) for one in good), options.classes)
        for task, options in experiment.tasks.items()
    }
    sides = _split(experiment, good)
    rows = [_row(one, sides[one.reference.id], labels) for one in good]
    shards = _shards(rows, experiment.data.shard_images)
    described = Dataset(
        name=experiment.name,
        fingerprint=dataset.fingerprint(rows, labels, [experiment.data.reencode, experiment.data.shard_images]),
        labels=labels,
        splits={
            side: tuple(
                Shard(file=file, rows=len(members)) for file, members in shards.items() if file.startswith(side)
            )
            for side in split.SPLITS
        },
        report=_report(sifted, sides, labels),
    )
    measured = [_fact(experiment, one, sides[one.reference.id]) for one in good]
    measured.sort(key=lambda one: split.SPLITS.index(one["split"]))  # stable: by id within each
    return Plan(described, shards, measured, sifted.rejected, sifted.set_aside, sifted.tallies)


_HOLDS: Mapping[AnnotationKind, tuple[str, tuple[type, ...]]] = {
    "class": ("class names", (str, tuple)),
    "classes": ("class names", (str, tuple)),
    "boxes": ("boxes", (RawBoxes, UnreadBoxes)),
    "mask": ("masks", (RawMask,)),
}


def check_columns(experiment: Experiment, references: Sequence[Reference]) -> None:
    """Raise a DataError when a task's column is in no image of the source, or does not hold what the task takes."""
    known = sorted({column for one in references for column in one.labels})
    for task, options in experiment.tasks.items():
        column = experiment.column(task)
        if column not in known:
            hint = catalog.did_you_mean(column, known)
            raise DataError(
                f"tasks.{task}.column: the source has no column {column!r}; it has {', '.join(known) or 'none'}{hint}"
            )
        for one in references:
            _check_holds(task, options, column, one)


def _check_holds(task: str, options: TaskOptions, column: str, one: Reference) -> None:
    wanted, types = _HOLDS[options.annotation]
    label = one.labels.get(column)
    if label is not None and not isinstance(label, types):
        held = next(words for words, others in _HOLDS.values() if isinstance(label, others))
        raise DataError(
            f"tasks.{task}.column: column {column!r} holds {held} for {one.id}; a task of type {options.type} takes "
            f"{wanted}"
        )
    if isinstance(label, RawMask) and not label.names:
        raise DataError(
            f"tasks.{task}.column: nothing says what the values of the masks in column {column!r} mean; say it in "
            "data.source, such as mask_values: {0: background, 1: scratch}"
        )


def check_rejected(experiment: Experiment, plan: Plan, place: str) -> None:
    """Raise a DataError when more images, or boxes or masks of a task, were set aside than the experiment allows."""
    report, allowed = plan.dataset.report, experiment.data.max_rejected
    _check_share("images", report.rejected, report.listed, allowed, place)
    for (task, things), tally in plan.tallies.items():
        _check_share(things, tally.aside, tally.kept + tally.aside.total(), allowed, place, f" of task {task}")


def _check_share(
    things: str, aside: Mapping[str, int], listed: int, allowed: float, place: str, whose: str = ""
) -> None:
    rejected = sum(aside.values())
    if rejected > allowed * listed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(aside.items()) if count)
        raise DataError(
            f"data.max_rejected: {rejected} of {listed} {things}{whose} had to be set aside ({reasons}), more than the "
            f"share of {allowed:g} allowed; see {place}, mend the {things} or raise data.max_rejected"
        )


def _row(one: Kept, side: str, labels: Mapping[str, LabelSchema]) -> Row:
    """Return one image as plain data.

    ``id``, ``sha256``, ``split``, ``width``, ``height``; ``annotations`` by task, with class indices; ``masks``, where
    the source has the mask of a task, which is no part of what training sees.
    """
    return {
        "id": one.reference.id,
        "sha256": one.fact["sha256"],
        "split": side,
        "width": one.fact["width"],
        "height": one.fact["height"],
        "annotations": {task: _indexed(one.labels[task], schema) for task, schema in labels.items()},
        "masks": {task: label.id for task, label in one.labels.items() if isinstance(label, CheckedMask)},
    }


def _fact(experiment: Experiment, one: Kept, side: str) -> Row:
    """Return one row of `facts`."""
    known = {key: one.fact[key] for key in ("sha256", "width", "height")}
    masks = json.dumps(covered(experiment, one))
    return {"id": one.reference.id, "split": side, **known, **one.fact["measured"], "masks": masks}


def _indexed(label: RawLabel | CheckedMask, schema: LabelSchema) -> Any:
    """Return a label with class indices in place of names, as plain data."""
    match label:
        case RawBoxes():
            return {"boxes": [list(box) for box in label.boxes], "labels": [schema.index[name] for name in label.names]}
        case CheckedMask():
            values = {str(value): schema.index[name] for value, name in label.names.items() if name in schema.index}
            return {"sha256": label.sha256, "values": values}
    return schema.encode(label)


def _split(experiment: Experiment, good: Sequence[Kept]) -> dict[str, str]:
    stratum = experiment.stratified_task()
    items = [
        split.Item(
            one.reference.id,
            (",".join(as_names(shown_of(one.labels[stratum]))) or None) if stratum else None,
            one.reference.group,
            one.reference.split,
        )
        for one in good
    ]
    return split.assign(items, experiment.data.split, experiment.seed)


def _shards(rows: Sequence[Row], size: int) -> dict[str, list[Row]]:
    """Cut each split into shard files of at most ``size`` images."""
    by_split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row["split"]].append(row)
    return {
        f"{side}-{start // size:05d}.parquet": members[start : start + size]
        for side, members in by_split.items()
        for start in range(0, len(members), size)
    }


def _report(sifted: Sifted, sides: Mapping[str, str], labels: Mapping[str, LabelSchema]) -> Report:
    classes: dict[str, dict[str, dict[str, int]]] = {}
    labelled: dict[str, dict[str, int]] = {}
    for side in split.SPLITS:
        members = [one for image_id, one in sifted.good.items() if sides[image_id] == side]
        found = {task: [shown_of(one.labels[task]) for one in members] for task in labels}
        classes[side] = {task: dict(counts(schema, found[task])) for task, schema in labels.items()}
        labelled[side] = {task: sum(label is not None for label in found[task]) for task in labels}
    return Report(
        listed=len(sifted.good) + len(sifted.rejected),
        rejected=_by_reason(sifted.rejected),
        set_aside=_by_reason(sifted.set_aside),
        classes=classes,
        labelled=labelled,
        warnings=tuple(_warnings(classes["train"], labels)),
    )


def _by_reason(aside: Sequence[Aside]) -> dict[str, int]:
    return dict(sorted(Counter(one["reason"] for one in aside).items()))


def _warnings(classes: Mapping[str, Mapping[str, int]], labels: Mapping[str, LabelSchema]) -> Iterator[str]:
    """Yield what a careful person would want to know before training."""
    for task, found in classes.items():
        things = "boxes" if labels[task].kind == "boxes" else "images"
        unseen = [name for name, count in found.items() if count == 0]
        if unseen:
            yield f"task {task}: no training image of {_named(unseen)}; the model cannot learn them"
        few = [name for name, count in found.items() if 0 < count < 10]
        if few:
            yield f"task {task}: fewer than 10 training {things} of {_named(few)}"


def _named(classes: Sequence[str]) -> str:
    """Return class names for one line; the report has the counts of all of them."""
    more = len(classes) - _NAMED
    return ", ".join(classes[:_NAMED]) + (f" and {more} more" if more > 0 else "")
