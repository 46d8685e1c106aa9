"""Preparing a dataset, step by step: plan it, from what was found of every image, and judge the plan.

Pure functions of plain data, so that each can run on any node. Bad input never loses good input: what cannot
be used is set aside with a reason, and stops the whole only past a share that the user sets. What the pixels decide is
thaw.data.check's, the content of shards thaw.data.shards's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from thaw import catalog
from thaw.config.experiment import AnnotationKind, Experiment, TaskOptions
from thaw.config.parts import Part
from thaw.data import dataset, facts, split
from thaw.data.check import Row
from thaw.data.dataset import Dataset, Report
from thaw.data.found import Found, joined
from thaw.data.labels import LabelSchema
from thaw.data.rows import Counts, ShardRows, annotated, shards
from thaw.data.sift import Aside, Tallies
from thaw.data.sources.contract import RawBoxes, RawMask, Reference, Source, UnreadBoxes
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
    rows: ShardRows
    facts: pa.Table
    rejected: Sequence[Aside]
    set_aside: Sequence[Aside]
    tallies: Tallies


def open_source(options: Part) -> Source:
    """Return the source that ``data.source`` describes."""
    source: Source = catalog.part("data.sources", options.type).Source(options)
    return source


def plan(experiment: Experiment, references: Sequence[Reference], found: Iterable[Row]) -> Plan:
    """Return the dataset that the images make, and what had to be set aside; all in one go.

    Args:
        found: what `check.examine` found, in any order.

    Raises:
        DataError: as `checked` and `decided`.
    """
    return decided(experiment, joined([Found.of(experiment, list(checked(experiment, references)), found)]))


def decided(experiment: Experiment, found: Found) -> Plan:
    """Return the dataset that the images make, given what was found of all of them in the order of their keys.

    Raises:
        DataError: no image can be used; classes or a split lack images.
    """
    if not len(found.rows):
        raise DataError(f"data.source: none of {found.listed} images can be used; the first: {found.rejected[:1]}")
    labels = {
        task: LabelSchema.learn(task, options.annotation, [tuple(found.names[task])], options.classes)
        for task, options in experiment.tasks.items()
    }
    rows, counted = annotated(_divided(experiment, found.rows), labels)
    data = experiment.data
    splits, in_shards = shards(rows, labels, data.reencode, data.shard_images, data.shard_mb * 2**20)
    described = Dataset(
        name=experiment.name,
        fingerprint=dataset.fingerprint(splits, labels),
        labels=labels,
        splits=splits,
        report=_report(found, counted, labels),
    )
    measured = rows.select(facts.SCHEMA.names)
    return Plan(described, in_shards, measured, found.rejected, found.set_aside, found.tallies)


_HOLDS: Mapping[AnnotationKind, tuple[str, tuple[type, ...]]] = {
    "class": ("class names", (str, tuple)),
    "classes": ("class names", (str, tuple)),
    "boxes": ("boxes", (RawBoxes, UnreadBoxes)),
    "mask": ("masks", (RawMask,)),
}


def columns(experiment: Experiment) -> set[str]:
    """Return the source's columns that the tasks read."""
    return {experiment.column(task) for task in experiment.tasks}


def checked(experiment: Experiment, references: Iterable[Reference]) -> Iterator[Reference]:
    """Yield the images of a source, once each was seen to hold what the tasks take.

    Raises:
        DataError: a task's column holds something else; or, in the end, is in no image of the source.
    """
    known = set[str]()
    for one in references:
        known.update(one.labels)
        for task, options in experiment.tasks.items():
            _check_holds(task, options, experiment.column(task), one)
        yield one
    for task in experiment.tasks:
        column = experiment.column(task)
        if column not in known:
            hint = catalog.did_you_mean(column, sorted(known))
            raise DataError(
                f"tasks.{task}.column: the source has no column {column!r}; it has "
                f"{', '.join(sorted(known)) or 'none'}{hint}"
            )


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


def _divided(experiment: Experiment, rows: pa.Table) -> pa.Table:
    """Return rows in the order of the shards: train, val, test, and in each as they were, with their split."""
    columns = (rows[name].to_pylist() for name in ("id", "stratum", "group", "given"))
    sides = split.assign(
        [split.Item(*one) for one in zip(*columns, strict=True)], experiment.data.split, experiment.seed
    )
    of = [sides[image_id] for image_id in rows["id"].to_pylist()]
    order = np.argsort([split.SPLITS.index(side) for side in of], kind="stable")
    return rows.set_column(rows.column_names.index("split"), "split", pa.array(of, pa.string())).take(order)


def _report(found: Found, counted: Counts, labels: Mapping[str, LabelSchema]) -> Report:
    classes = {side: {task: dict(counted.classes[side][task]) for task in labels} for side in split.SPLITS}
    return Report(
        listed=found.listed,
        rejected=_by_reason(found.rejected),
        set_aside=_by_reason(found.set_aside),
        classes=classes,
        labelled={side: {task: counted.labelled[side][task] for task in labels} for side in split.SPLITS},
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
