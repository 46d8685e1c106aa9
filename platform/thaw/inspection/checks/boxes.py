"""Boxes: which cannot be used, are given twice, are very small or as large as the image, and where there are many."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.data.check import shown
from thaw.data.preprocess import Preprocess
from thaw.inspection.finding import SHOWN, Case, Finding, Level
from thaw.inspection.material import Material
from thaw.inspection.told import are, set_aside, worst
from thaw.metrics.boxes import iou

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
_WHOLE = 0.95
"""Share of the image from which a box says no more than that something is there."""
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class _Boxes:
    """All M boxes of a task, image by image.

    Attributes:
        rows: (M,) which image.
        boxes: (M, 4) in pixels of the image.
        labels: (M,) class indices.
        placed: (M, 4) in pixels of the model's input; parts may lie outside of it.
        shares: (M,) of the image that each covers.
        counts: (N,) boxes of each image, -1 without a label.
    """

    task: str
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    placed: NDArray[np.float64]
    shares: NDArray[np.float64]
    counts: NDArray[np.int64]

    def named(self, one: int) -> str:
        """Return a box as a person reads it."""
        return f"{self.names[self.labels[one]]} {shown(self.boxes[one].round(1).tolist())}"


def check(material: Material) -> Iterator[Finding]:
    """Yield what is wrong with the boxes of every task."""
    yield from set_aside(material, _SET_ASIDE, "box", ("box", "boxes"))
    for task in material.boxes:
        boxes = _gathered(material, task)
        if len(boxes.rows):
            yield from _repeated(material, boxes)
            yield from _tiny(material, boxes)
            yield from _whole(material, boxes)
            yield from _out_of_view(material, boxes)
        yield from _crowded(material, boxes)
        yield from _told(boxes)


def _gathered(material: Material, task: str) -> _Boxes:
    preprocess = Preprocess.of(material.experiment.data.image)
    sizes = list(zip(material.fact("height").tolist(), material.fact("width").tolist(), strict=True))
    known = [(row, one) for row, one in enumerate(material.boxes[task]) if one is not None]
    boxes = [one.boxes.astype(np.float64) for _, one in known]
    placed = [preprocess.place(*sizes[row]).boxes(one.boxes) for row, one in known]
    areas = [_areas(one) / np.prod(sizes[row]) for (row, _), one in zip(known, boxes, strict=True)]
    counts = np.full(len(sizes), -1)
    counts[[row for row, _ in known]] = [len(one.boxes) for _, one in known]
    return _Boxes(
        task=task,
        names=material.tasks[task].labels.names,
        rows=np.repeat(np.arange(len(sizes)), np.maximum(counts, 0)),
        boxes=np.concatenate([np.empty((0, 4)), *boxes]),
        labels=np.concatenate([np.empty(0, dtype=np.int64), *(one.labels for _, one in known)]),
        placed=np.concatenate([np.empty((0, 4)), *placed]),
        shares=np.concatenate([np.empty(0), *areas]),
        counts=counts,
    )


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _repeated(material: Material, boxes: _Boxes) -> Iterator[Finding]:
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


def _pairs(boxes: _Boxes) -> Iterator[tuple[int, int]]:
    """Yield places of boxes of one image that are nearly the same, the earlier first."""
    first = 0
    for count in np.maximum(boxes.counts, 0).tolist():
        for one in range(first, first + count - 1):
            others = boxes.boxes[one + 1 : first + count]
            for other in np.flatnonzero(iou(boxes.boxes[one], others) > _SAME).tolist():
                yield one, one + 1 + other
        first += count


def _pairs_shown(material: Material, boxes: _Boxes, pairs: list[tuple[int, int]]) -> tuple[Case, ...]:
    """Return one case an image, those with most pairs first."""
    by_image: dict[int, list[str]] = {}
    for one, other in pairs:
        by_image.setdefault(int(boxes.rows[one]), []).append(f"{boxes.named(one)} and {boxes.named(other)}")
    most = sorted(by_image.items(), key=lambda item: -len(item[1]))[:SHOWN]
    return tuple(Case(images=(material.ids[row],), note="; ".join(notes[:3])) for row, notes in most)


def _tiny(material: Material, boxes: _Boxes) -> Iterator[Finding]:
    finest = material.tasks[boxes.task].finest or 1
    sides = np.sqrt(_areas(boxes.placed))
    size = material.experiment.data.image.size
    yield from _images(
        material,
        boxes,
        sides < finest,
        -sides,
        name="boxes_tiny",
        level="warning",
        told=f"smaller for {boxes.task} than {finest} x {finest} pixels at the model's input of {size}, which is one "
        "place of the finest map that it looks at.",
        advice="Raise data.image.size, or cut the images into parts: things so small are hardly found.",
    )


def _whole(material: Material, boxes: _Boxes) -> Iterator[Finding]:
    yield from _images(
        material,
        boxes,
        boxes.shares > _WHOLE,
        boxes.shares,
        name="boxes_whole_image",
        level="note",
        told=f"as large as the image, or nearly, for {boxes.task}.",
        advice="If all things fill their images, classification says as much for less; else look whether a thing was "
        "meant.",
    )


def _out_of_view(material: Material, boxes: _Boxes) -> Iterator[Finding]:
    """Yield boxes that the model's input does not show, which happens with ``crop`` alone."""
    image, least = material.experiment.data.image, material.experiment.data.augment.least_box
    seen = _areas(np.clip(boxes.placed, 0, image.size)) / np.maximum(_areas(boxes.placed), 1e-9)
    yield from _images(
        material,
        boxes,
        seen < least,
        -seen,
        name="boxes_out_of_view",
        level="warning",
        told=f"cut off for {boxes.task}: data.image.fit {image.fit} leaves less than {least:.0%} of them in view.",
        advice="Set data.image.fit to letterbox, which keeps everything.",
    )


def _images(
    material: Material,
    boxes: _Boxes,
    chosen: NDArray[np.bool_],
    by: NDArray[np.float64],
    *,
    name: str,
    level: Level,
    told: str,
    advice: str,
) -> Iterator[Finding]:
    """Yield the finding of the chosen boxes, if there are any: one case an image, by its most telling box."""
    if not chosen.any():
        return
    best: dict[int, int] = {}
    for one in np.flatnonzero(chosen)[np.argsort(-by[chosen], kind="stable")].tolist():
        best.setdefault(int(boxes.rows[one]), one)
    shown_first = list(best.items())[:SHOWN]
    yield Finding(
        name=name,
        level=level,
        task=boxes.task,
        told=f"{are(int(chosen.sum()), len(chosen), 'boxes')} {told}",
        advice=advice,
        count=int(chosen.sum()),
        cases=tuple(Case(images=(material.ids[row],), note=boxes.named(one)) for row, one in shown_first),
        figures={"by_class": _by_class(boxes, chosen)},
    )


def _by_class(boxes: _Boxes, chosen: NDArray[np.bool_]) -> dict[str, int]:
    counts = np.bincount(boxes.labels[chosen], minlength=len(boxes.names)).tolist()
    return {name: count for name, count in zip(boxes.names, counts, strict=True) if count}


def _crowded(material: Material, boxes: _Boxes) -> Iterator[Finding]:
    """Yield images with more boxes than a task answers with."""
    most = material.tasks[boxes.task].options.max_boxes
    crowded = boxes.counts > most
    if crowded.any():
        yield Finding(
            name="images_crowded",
            level="warning",
            task=boxes.task,
            told=f"{are(int(crowded.sum()), int((boxes.counts >= 0).sum()))} crowded: they have more boxes than the "
            f"{most} that {boxes.task} answers with.",
            advice=f"Raise tasks.{boxes.task}.max_boxes, or cut these images into parts.",
            count=int(crowded.sum()),
            cases=worst(
                material.ids, crowded, boxes.counts.astype(float), lambda row: f"{int(boxes.counts[row]):,} boxes"
            ),
        )


def _told(boxes: _Boxes) -> Iterator[Finding]:
    """Yield how large, how long and how many boxes are."""
    sides = boxes.placed[:, 2:] - boxes.placed[:, :2]
    known = boxes.counts[boxes.counts >= 0]
    figures: dict[str, Any] = {
        "images_without_boxes": int((known == 0).sum()),
        "boxes_an_image": _quantiles(known),
        "side_at_input": _quantiles(np.sqrt(sides.prod(axis=1))),
        "aspect": _quantiles(sides[:, 0] / sides[:, 1]),
        "share_of_image": _quantiles(boxes.shares),
        "side_at_input_by_class": {
            name: _quantiles(np.sqrt(sides[boxes.labels == label].prod(axis=1)))
            for label, name in enumerate(boxes.names)
        },
    }
    middle = figures["side_at_input"].get("0.5")
    yield Finding(
        name="box_sizes",
        level="note",
        task=boxes.task,
        told=f"{len(boxes.rows):,} boxes of {boxes.task} on {len(known):,} labelled images"
        + (f", half of them smaller than {middle:.0f} x {middle:.0f} pixels at the model's input." if middle else "."),
        advice="Nothing needs to be done.",
        count=len(boxes.rows),
        figures=figures,
    )


def _quantiles(values: NDArray[Any]) -> Mapping[str, float]:
    """Return quantiles by their share; none of no values."""
    if not len(values):
        return {}
    found = np.quantile(values.astype(np.float64), _QUANTILES)
    return {f"{share:g}": round(float(value), 4) for share, value in zip(_QUANTILES, found, strict=True)}
