"""Checking: whether an image, and the boxes and masks that a source gives it, can be used.

Plain data in and out, so that it runs on any node. Only what the pixels decide: which classes a task knows is the
business of the plan (see thaw.data.prepare).

Boxes and masks refer to the upright image, as `quality.decode` gives it. Boxes are judged one by one:

- a corner that is no number or infinite: ``box_not_finite``;
- a right side not right of the left one, or a lower one not below the upper one: ``box_degenerate``;
- no part inside the image: ``box_outside``;
- all others are cut at the edges of the image, and at least 1 pixel must be left on each side: ``box_degenerate``.

A mask must open (``mask_unreadable``), be of the image's size (``mask_size``) and hold only values that the source
names (``mask_value``) or 255 for pixels without a label. What is set aside takes nothing else with it: the image, its
other boxes and its labels for other tasks stay. An image keeps its label where all its boxes were set aside: it then
has none. A mask in which no pixel has a label is no label.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.config.experiment import Experiment, Limits
from thaw.data import coverage, facts, quality
from thaw.data.sources.contract import BadLabel, RawBoxes, RawMask, Reference, Source, UnreadBoxes
from thaw.metrics.masks import IGNORED

PICTURED = ("boxes", "mask")
"""Kinds of annotation that must be held against the pixels."""
LEAST = 1.0
"""Pixels that a box must measure along each side."""

Row = dict[str, Any]
"""Plain data, such as JSON carries."""
Box = tuple[float, float, float, float]


class Question(BaseModel):
    """One image, and what is to be checked of it, as plain data that travels to any node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    labels: dict[str, RawBoxes | RawMask | UnreadBoxes] = {}
    """Column -> raw label."""


def questions(experiment: Experiment, references: Iterable[Reference]) -> list[Question]:
    """Return what to check: each image once, with the boxes and masks that the experiment's tasks need."""
    tasks = experiment.tasks.items()
    columns = sorted({experiment.column(task) for task, options in tasks if options.annotation in PICTURED})
    asked: dict[str, Question] = {}
    for one in references:
        if one.id not in asked:
            labels = {column: one.labels.get(column) for column in columns}
            wanted = {key: one for key, one in labels.items() if isinstance(one, RawBoxes | RawMask | UnreadBoxes)}
            asked[one.id] = Question(id=one.id, labels=wanted)
    return list(asked.values())


def examine(source: Source, asked: Iterable[Question], limits: Limits) -> Iterator[Row]:
    """Yield what was found of each image, as plain data.

    ``id``, ``sha256`` of its bytes; ``reason`` and ``detail`` where it cannot be used, else None; ``width`` and
    ``height`` in pixels, upright; ``measured``, what `facts.measure` says of a good one; ``labels``, column -> boxes or
    mask that can be used; ``set_aside``, a list of ``column``, ``reason`` and ``detail`` of those that cannot.
    """
    for one in asked:
        fact: Row = dict.fromkeys(("sha256", "reason", "detail", "width", "height", "measured"))
        fact |= {"id": one.id, "labels": {}, "set_aside": []}
        try:
            content = source.read(one.id, limits.max_bytes + 1)
            fact["sha256"] = hashlib.sha256(content).hexdigest()
            pixels = quality.decode(content, limits)
            fact["height"], fact["width"], _ = pixels.shape
            fact["measured"] = facts.measure(content, pixels)
        except OSError as error:
            fact |= {"reason": "unreadable", "detail": _said(error)}
        except quality.BadImage as error:
            fact |= {"reason": error.reason, "detail": error.detail}
        else:
            _examine_labels(source, one, fact)
        yield fact


def _examine_labels(source: Source, one: Question, fact: Row) -> None:
    """Add what the columns hold to the facts of a good image; boxes first, for masks are held against them."""
    width, height = fact["width"], fact["height"]
    for column, label in sorted(one.labels.items(), key=lambda item: isinstance(item[1], RawMask)):
        kind = "mask" if isinstance(label, RawMask) else "boxes"
        try:
            if isinstance(label, RawMask):
                fact["labels"][column] = _mask(source, label, width, height, _boxes_in(fact))
                continue
            raw = source.boxes(label.id, width, height) if isinstance(label, UnreadBoxes) else label
            fact["labels"][column], bad = _sound(raw, width, height)
        except OSError as error:
            bad = [(f"{kind}_unreadable", _said(error))]
        except BadLabel as error:
            bad = [(error.reason, error.detail)]
        fact["set_aside"] += [
            {"column": column, "reason": reason, "detail": f"column {column}: {detail}"} for reason, detail in bad
        ]


def _boxes_in(fact: Row) -> dict[str, tuple[list[Box], list[str]]]:
    """Return the boxes that can be used, and their names, by column."""
    found = {column: label for column, label in fact["labels"].items() if label is not None and "boxes" in label}
    return {column: (label["boxes"], label["names"]) for column, label in found.items()}


def _sound(raw: RawBoxes, width: int, height: int) -> tuple[Row, list[tuple[str, str]]]:
    """Return the boxes that can be used, cut at the edges, and reason and detail of the others."""
    boxes, names, bad = [], [], []
    for box, name in zip(raw.boxes, raw.names, strict=True):
        # as stored: else a box of 1 pixel that came as shares of the image could measure a billionth less
        left, top, right, bottom = np.clip(box, 0, [width, height] * 2).astype(np.float32).tolist()
        cut = left, top, right, bottom
        reason = _why_not(box, cut)
        if reason:
            bad.append((reason, f"{name} {shown(box)} in an image of {width} x {height} pixels"))
        else:
            boxes.append(cut)
            names.append(name)
    return {"boxes": boxes, "names": names}, bad


def _why_not(box: Box, cut: Box) -> str | None:
    """Return why a box cannot be used, if so, given the part of it inside the image."""
    if not all(isfinite(edge) for edge in box):
        return "box_not_finite"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "box_degenerate"
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return "box_outside"
    return "box_degenerate" if min(cut[2] - cut[0], cut[3] - cut[1]) < LEAST else None


def shown(box: Sequence[float]) -> str:
    """Return a box as a person reads it."""
    return f"[{', '.join(f'{edge:g}' for edge in box)}]"


def _mask(
    source: Source, label: RawMask, width: int, height: int, boxes: Mapping[str, tuple[list[Box], list[str]]]
) -> Row | None:
    """Return ``id``, ``sha256`` of the pixels, ``names`` by value, the names that were ``found``, and ``coverage``."""
    pixels = source.mask(label.id, width, height)
    if pixels.shape != (height, width):
        detail = f"{label.id} has {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {width} x {height}"
        raise BadLabel("mask_size", detail)
    values = {int(value) for value in np.flatnonzero(coverage.counts(pixels))}
    strange = sorted(values - label.names.keys() - {IGNORED})
    if strange:
        known = ", ".join(str(value) for value in sorted(label.names))
        raise BadLabel("mask_value", f"{label.id} has pixels of value {strange[0]}; named are {known}")
    found = sorted({label.names[value] for value in values if value in label.names})
    if not found:
        return None
    names = {str(value): name for value, name in sorted(label.names.items())}
    covered = coverage.measure(pixels, label.names, boxes)
    return {"id": label.id, "sha256": pixels_hash(pixels), "names": names, "found": found, "coverage": covered}


def pixels_hash(pixels: NDArray[np.uint8]) -> str:
    """Return a hash of a mask's values and size."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__  # never its whole text: a path of one machine does not belong there
