"""Box sizes: which boxes are very small, as large as the image or out of view, where there are many, and what is usual.

Sizes are those at the model's input, where the model has to find things.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.all_boxes import AllBoxes, areas
from thaw.inspection.finding import SHOWN, Case, Finding, Level
from thaw.inspection.material import Material
from thaw.inspection.told import are, worst

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = False

_WHOLE = 0.95
"""Share of the image from which a box says no more than that something is there."""
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def check(material: Material) -> Iterator[Finding]:
    """Yield which boxes of every task are of odd sizes, and how large they are."""
    for task in material.boxes:
        boxes = AllBoxes.of(material, task)
        if len(boxes.rows):
            yield from _tiny(material, boxes)
            yield from _whole(material, boxes)
            yield from _out_of_view(material, boxes)
            yield from _crowded(material, boxes)
            yield from _told(boxes)


def _tiny(material: Material, boxes: AllBoxes) -> Iterator[Finding]:
    finest = material.tasks[boxes.task].finest or 1
    sides = np.sqrt(areas(boxes.placed))
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


def _whole(material: Material, boxes: AllBoxes) -> Iterator[Finding]:
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


def _out_of_view(material: Material, boxes: AllBoxes) -> Iterator[Finding]:
    """Yield boxes that the model's input does not show, which happens with ``crop`` alone."""
    image, least = material.experiment.data.image, material.experiment.data.augment.least_box
    seen = areas(np.clip(boxes.placed, 0, image.size)) / np.maximum(areas(boxes.placed), 1e-9)
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
    boxes: AllBoxes,
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
    ids, first = material.ids, list(best.items())[:SHOWN]
    yield Finding(
        name=name,
        level=level,
        task=boxes.task,
        told=f"{are(int(chosen.sum()), len(chosen), 'boxes')} {told}",
        advice=advice,
        count=int(chosen.sum()),
        cases=tuple(Case(images=(ids[row],), note=boxes.named(one)) for row, one in first),
        figures={"by_class": _by_class(boxes, chosen)},
    )


def _by_class(boxes: AllBoxes, chosen: NDArray[np.bool_]) -> dict[str, int]:
    counts = np.bincount(boxes.labels[chosen], minlength=len(boxes.names)).tolist()
    return {name: count for name, count in zip(boxes.names, counts, strict=True) if count}


def _crowded(material: Material, boxes: AllBoxes) -> Iterator[Finding]:
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


def _told(boxes: AllBoxes) -> Iterator[Finding]:
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
