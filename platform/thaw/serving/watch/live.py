"""Live: how right a model was on what users said of its answers afterwards.

By the same figures, with intervals, as an evaluation; of the answers that were spoken of, which need not be like all:
whoever tells of mistakes alone makes a model look bad.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thaw.data import logged
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.data.logged import Label, Span
from thaw.evaluation.figures import Figures, figures, labelled
from thaw.predictor import Answers
from thaw.storage import Root
from thaw.tasks.contract import Task


def accuracy(
    root: Root, model: str, version: int, tasks: Mapping[str, Task], span: Span, seed: int = 0
) -> dict[str, Figures]:
    """Return task -> figures of one version, on the answers of some days that were spoken of.

    Tasks of pixels are left out: their masks are not kept. So are answers whose request id others have too.

    Args:
        tasks: of that version.
    """
    scored = {name: task for name, task in tasks.items() if task.labels.kind != "mask"}
    said = logged.truths(root, model, span.first)
    unsure = logged.shared(root, model, span, said)
    found: dict[str, tuple[str, dict[str, Label]]] = {}
    for _, rows in logged.answers(root, model, span, ["request_id", "version", "answer"]):
        for row in rows.to_pylist():
            if row["version"] == version and row["request_id"] in said and row["request_id"] not in unsure:
                found[row["request_id"]] = row["answer"], said[row["request_id"]]
    answers = [_answers(json.loads(answer), scored) for answer, _ in found.values()]
    annotations = [_annotations(carried, scored) for _, carried in found.values()]
    return figures(scored, labelled(scored, list(found), answers, annotations), seed)


def _answers(stored: Mapping[str, Any], tasks: Mapping[str, Task]) -> Answers:
    return {name: task.answer_type.model_validate(stored[name]) for name, task in tasks.items()}


def _annotations(said: Mapping[str, Label], tasks: Mapping[str, Task]) -> dict[str, Annotation]:
    return {name: _annotation(said.get(name), task.labels) for name, task in tasks.items()}


def _annotation(label: Label | None, schema: LabelSchema) -> Annotation:
    """Return what was said as an annotation; None where nothing was, or where another version knew other classes."""
    names: Sequence[str] = (
        label["names"] if isinstance(label, dict) else [label] if isinstance(label, str) else label or ()
    )
    if label is None or any(name not in schema.index for name in names):
        return None
    if isinstance(label, dict):
        places = np.array([schema.index[name] for name in names], dtype=np.int64)
        return Boxes(np.array(label["boxes"], dtype=np.float32).reshape(-1, 4), places)
    return schema.encode(label)
