"""Preparing a dataset, step by step: check every image, plan the dataset, write its shards.

Pure functions of plain data, so that each can run on any node. Bad input never loses good input: what cannot
be used is set aside with a reason, and stops the whole only past a share that the user sets.
"""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from thaw import catalog
from thaw.config.experiment import Experiment, Limits
from thaw.config.parts import Part
from thaw.data import dataset, quality, split
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import LabelSchema, as_names, counts
from thaw.data.sources.contract import RawLabel, Reference, Source
from thaw.errors import DataError

_JPEG_QUALITY = 95

Row = dict[str, Any]
"""One image as plain data: ``id``, ``sha256``, ``split`` and ``annotations`` by task."""


@dataclass(frozen=True)
class Plan:
    """A dataset that is about to be written.

    Attributes:
        dataset: its description.
        rows: shard file -> the images in it.
        rejected: one mapping an image that was set aside: ``id``, ``reason``, ``detail``.
    """

    dataset: Dataset
    rows: dict[str, list[Row]]
    rejected: list[dict[str, str]]


def open_source(options: Part) -> Source:
    """Return the source that ``data.source`` describes."""
    source: Source = catalog.part("data.sources", options.type).Source(options)
    return source


def examine(source: Source, image_ids: Iterable[str], limits: Limits) -> Iterator[Row]:
    """Yield ``id``, ``sha256`` and, where an image cannot be used, ``reason`` and ``detail`` (else None)."""
    for image_id in image_ids:
        sha256 = reason = detail = None
        try:
            content = source.read(image_id, limits.max_bytes + 1)
            sha256 = hashlib.sha256(content).hexdigest()
            quality.decode(content, limits)
        except OSError as error:
            reason, detail = "unreadable", error.strerror or type(error).__name__
        except quality.BadImage as error:
            reason, detail = error.reason, error.detail
        yield {"id": image_id, "sha256": sha256, "reason": reason, "detail": detail}


def plan(experiment: Experiment, references: Sequence[Reference], facts: Sequence[Row]) -> Plan:
    """Return the dataset that the images make, and what had to be set aside.

    Raises:
        DataError: a task's column does not exist, classes or a split lack images.
    """
    check_columns(experiment, references)
    good, rejected = _sift(experiment, references, {fact["id"]: fact for fact in facts})
    labels = {
        task: LabelSchema.learn(
            task,
            options.annotation,
            (one.labels.get(experiment.column(task)) for one in good),
            options.classes,
        )
        for task, options in experiment.tasks.items()
    }
    sides = _split(experiment, good)
    sha256 = {fact["id"]: fact["sha256"] for fact in facts}
    rows = [
        {
            "id": one.id,
            "sha256": sha256[one.id],
            "split": sides[one.id],
            "annotations": {task: schema.encode(_raw_label(experiment, task, one)) for task, schema in labels.items()},
        }
        for one in sorted(good, key=lambda one: one.id)
    ]
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
        report=_report(experiment, good, sides, labels, rejected),
    )
    return Plan(described, shards, rejected)


def check_columns(experiment: Experiment, references: Sequence[Reference]) -> None:
    """Raise a DataError when a task's column is in no image of the source."""
    known = sorted({column for one in references for column in one.labels})
    for task in experiment.tasks:
        column = experiment.column(task)
        if column not in known:
            hint = catalog.did_you_mean(column, known)
            raise DataError(
                f"tasks.{task}.column: the source has no column {column!r}; it has {', '.join(known) or 'none'}{hint}"
            )


def check_rejected(experiment: Experiment, plan: Plan, place: str) -> None:
    """Raise a DataError when more images had to be set aside than the experiment allows."""
    listed, rejected = plan.dataset.report.listed, len(plan.rejected)
    if rejected > experiment.data.max_rejected * listed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in plan.dataset.report.rejected.items())
        raise DataError(
            f"data.max_rejected: {rejected} of {listed} images had to be set aside ({reasons}), more than the share of "
            f"{experiment.data.max_rejected:g} allowed; see {place}, mend the images or raise data.max_rejected"
        )


def shard_table(
    source: Source,
    rows: Sequence[Row],
    labels: Mapping[str, LabelSchema],
    reencode: int | None,
    limits: Limits,
) -> pa.Table:
    """Return the content of one shard.

    Raises:
        DataError: an image changed since it was checked.
    """
    images = [_content(source, row, reencode, limits) for row in rows]
    annotations = {task: [row["annotations"][task] for row in rows] for task in labels}
    return dataset.table([row["id"] for row in rows], images, annotations, labels)


def _content(source: Source, row: Row, reencode: int | None, limits: Limits) -> bytes:
    try:
        content = source.read(row["id"], limits.max_bytes + 1)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise DataError(f"{row['id']}: changed while the dataset was being prepared; run prepare again")
    return content if reencode is None else _smaller(content, reencode, limits)


def _smaller(content: bytes, side: int, limits: Limits) -> bytes:
    """Return an image as JPEG with ``side`` pixels along its shorter edge, or unchanged if it is no larger."""
    image = Image.fromarray(quality.decode(content, limits))
    if min(image.size) <= side:
        return content
    scale = side / min(image.size)
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    buffer = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _sift(
    experiment: Experiment, references: Sequence[Reference], facts: Mapping[str, Row]
) -> tuple[list[Reference], list[dict[str, str]]]:
    """Divide the images into those that can be used and those set aside, with reason and detail."""
    good: dict[str, Reference] = {}
    rejected = []
    for one in references:
        fact = facts[one.id]
        reason, detail = (fact["reason"], fact["detail"]) if fact["reason"] else _mislabelled(experiment, one)
        if reason is None and one.id in good:
            reason, detail = (
                "listed_twice",
                "the source names this image more than once; the first row is kept",
            )
        if reason is None:
            good[one.id] = one
        else:
            rejected.append({"id": one.id, "reason": reason, "detail": detail})
    if not good:
        raise DataError(f"data.source: none of {len(references)} images can be used; the first: {rejected[:1]}")
    return list(good.values()), rejected


def _raw_label(experiment: Experiment, task: str, one: Reference) -> RawLabel:
    """Return what the source says of an image for a task; an empty set is no class at all."""
    label = one.labels.get(experiment.column(task))
    return None if label == () and experiment.tasks[task].annotation == "class" else label


def _mislabelled(experiment: Experiment, one: Reference) -> tuple[str | None, str]:
    """Return why the labels of an image cannot be used, if so."""
    labels = {task: _raw_label(experiment, task, one) for task in experiment.tasks}
    if all(label is None for label in labels.values()):
        return "no_label", "carries a label for none of the tasks"
    for task, options in experiment.tasks.items():
        names = as_names(labels[task])
        if options.annotation == "class" and len(names) > 1:
            return "several_classes", f"task {task} takes one class; found {', '.join(names)}"
        strange = [name for name in names if options.classes is not None and name not in options.classes]
        if strange:
            return "unknown_class", f"task {task}: {strange[0]!r} is not in tasks.{task}.classes"
    return None, ""


def _split(experiment: Experiment, good: Sequence[Reference]) -> dict[str, str]:
    stratum = experiment.stratified_task()
    column = experiment.column(stratum) if stratum else None
    items = [
        split.Item(
            one.id,
            ",".join(as_names(one.labels.get(column))) or None if column else None,
            one.group,
            one.split,
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


def _report(
    experiment: Experiment,
    good: Sequence[Reference],
    sides: Mapping[str, str],
    labels: Mapping[str, LabelSchema],
    rejected: Sequence[Mapping[str, str]],
) -> Report:
    classes: dict[str, dict[str, dict[str, int]]] = {}
    labelled: dict[str, dict[str, int]] = {}
    for side in split.SPLITS:
        members = [one for one in good if sides[one.id] == side]
        found = {task: [_raw_label(experiment, task, one) for one in members] for task in labels}
        classes[side] = {task: dict(counts(schema, found[task])) for task, schema in labels.items()}
        labelled[side] = {task: sum(label is not None for label in found[task]) for task in labels}
    return Report(
        listed=len(good) + len(rejected),
        rejected=dict(sorted(Counter(one["reason"] for one in rejected).items())),
        classes=classes,
        labelled=labelled,
        warnings=tuple(_warnings(classes)),
    )


def _warnings(classes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[str]:
    """Yield what a careful person would want to know before training."""
    for task, found in classes["train"].items():
        unseen = [name for name, count in found.items() if count == 0]
        if unseen:
            yield f"task {task}: no training image of {', '.join(unseen)}; the model cannot learn them"
        few = [name for name, count in found.items() if 0 < count < 10]
        if few:
            yield f"task {task}: fewer than 10 training images of {', '.join(few)}"
