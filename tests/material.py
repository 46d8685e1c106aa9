"""Material for checks, out of a few words: what a test does not say is that of a good image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from thaw import catalog
from thaw.config.load import parse
from thaw.data import facts
from thaw.data.dataset import Dataset, Report
from thaw.data.labels import Boxes, LabelSchema
from thaw.data.split import SPLITS
from thaw.inspection.material import Material

KINDS = {"classification": "class", "multilabel": "classes", "detection": "boxes", "segmentation": "mask"}


def images(count: int, split: str = "train", **values: Any) -> list[dict[str, Any]]:
    """Return rows for `material`: as many images of a split, named ``train-000`` and so on, with the same values."""
    return [{"id": f"{split}-{place:03d}", "split": split, **values} for place in range(count)]


def boxes(*rows: Sequence[float]) -> Boxes:
    """Return boxes of x0, y0, x1, y1 and a class index each."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Boxes(table[:, :4].astype(np.float32), table[:, 4].astype(np.int64))


def material(
    rows: Sequence[Mapping[str, Any]],
    tasks: Mapping[str, Mapping[str, Any]] | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
    *,
    labels: Mapping[str, Sequence[Any]] | None = None,
    rejected: Sequence[tuple[str, str]] = (),
    vectors: Any = None,
    data: Mapping[str, Any] | None = None,
) -> Material:
    """Return material of images, in the order of their splits.

    Args:
        rows: facts of an image each; what is left out is that of a picture of 64 x 48 pixels of noise.
        tasks: options by task; one of classification called ``kind`` when left out.
        names: classes by task; ``a`` and ``b`` when left out.
        labels: by task one an image: a class index, indices of several classes, `boxes`, or None; masks are facts.
        rejected: image and reason of what was set aside.
        data: what the experiment says below ``data``.
    """
    options = {task: dict(one) for task, one in (tasks or {"kind": {"type": "classification"}}).items()}
    values = {"source": {"type": "boards"}, **(data or {})}
    experiment = parse({"name": "made", "data": values, "tasks": options}, "test")
    schemas = {
        task: LabelSchema(kind=KINDS[one["type"]], names=tuple((names or {}).get(task, ("a", "b"))))
        for task, one in options.items()
    }
    order = sorted(range(len(rows)), key=lambda place: SPLITS.index(rows[place]["split"]))
    given = {task: [one[place] for place in order] for task, one in (labels or {}).items()}
    targets = {
        task: schema.targets(given.get(task, [None] * len(rows)), 1)
        for task, schema in schemas.items()
        if schema.kind in ("class", "classes")
    }
    return Material(
        experiment=experiment,
        prepared=_described(schemas),
        facts=pa.Table.from_pylist([_usual() | dict(rows[place]) for place in order], facts.SCHEMA),
        tasks={
            task: catalog.part("tasks", options[task]["type"]).Task(task, experiment.tasks[task], schema)
            for task, schema in schemas.items()
        },
        rejected=tuple({"id": one, "reason": reason, "detail": f"{one} {reason}"} for one, reason in rejected),
        classes={task: targets[task] for task, schema in schemas.items() if schema.kind == "class"},
        sets={task: targets[task] for task, schema in schemas.items() if schema.kind == "classes"},
        boxes={
            task: tuple(given.get(task, [None] * len(rows)))
            for task, schema in schemas.items()
            if schema.kind == "boxes"
        },
        vectors=None if vectors is None else np.asarray(vectors, dtype=np.float32)[order],
    )


def _usual() -> dict[str, Any]:
    """Return the facts of a good image."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return {"sha256": "0" * 64, "width": 64, "height": 48, **facts.measure(b"\x89PNG\r\n\x1a\n", pixels)}


def _described(schemas: Mapping[str, LabelSchema]) -> Dataset:
    report = Report(listed=0, rejected={}, classes={}, labelled={}, warnings=())
    return Dataset(name="made", fingerprint="0", labels=dict(schemas), splits=dict.fromkeys(SPLITS, ()), report=report)
