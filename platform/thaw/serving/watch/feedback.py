"""Feedback: what an answered image truly shows, as users say it afterwards.

It is kept as it was said, by class name, and joins the log by request id. Classes that the model does not know are
refused, for nobody could make anything of them; whether the request is in the log is not asked: it may not be written
yet, or be one of those that are not kept.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag

from thaw import catalog
from thaw.config.experiment import Name
from thaw.data import logged
from thaw.data.labels import LabelSchema
from thaw.storage import Root

MOST = 1000
"""Most truths in one request, and most boxes in one of them."""

Corners = tuple[float, float, float, float]


class NamedBoxes(BaseModel):
    """All things that an image shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    boxes: Annotated[tuple[Corners, ...], FailFast()] = Field(max_length=MOST)
    """x0, y0, x1, y1 each, in pixels of the upright image; none where it shows nothing."""
    names: Annotated[tuple[str, ...], FailFast()] = Field(max_length=MOST)
    """One class a box."""


def _form(value: Any) -> str | None:
    """Return which form a label has, so that an error is told of this one alone."""
    match value:
        case str():
            return "class"
        case list() | tuple():
            return "classes"
        case dict() | NamedBoxes():
            return "boxes"
    return None


_FORMS = Discriminator(
    _form,
    custom_error_type="label",
    custom_error_message="needs a class name, a list of class names, or boxes with names",
)
Label = Annotated[
    Annotated[str, Tag("class")]
    | Annotated[tuple[str, ...], Field(max_length=MOST), Tag("classes")]
    | Annotated[NamedBoxes, Tag("boxes")],
    _FORMS,
]


class Truth(BaseModel):
    """What an image shows that was answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    request_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,72}$")
    """That of the answer; those of several images of a request are longer than a caller's own may be."""
    task: Name
    """Which of the model's tasks is spoken of."""
    label: Label
    """The class; all classes, for a task of several; or all boxes."""


class Feedback(BaseModel):
    """What is POSTed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Name | None = None
    """Left out: the model that the endpoint answers with."""
    truths: Annotated[tuple[Truth, ...], FailFast()] = Field(min_length=1, max_length=MOST)


def wrong(told: Truth, schemas: Mapping[str, LabelSchema]) -> str | None:
    """Return why something cannot be true of a model's task; None where it can."""
    schema = schemas.get(told.task)
    if schema is None:
        hint = catalog.did_you_mean(told.task, schemas)
        return f"task {told.task!r}: the model's tasks are {', '.join(schemas)}{hint}"
    form = _form_wrong(told, schema)
    if form:
        return f"task {told.task!r}: {form}"
    unknown = next((name for name in _names(told) if name not in schema.index), None)
    if unknown is None:
        return None
    hint = catalog.did_you_mean(unknown, schema.names)
    return f"task {told.task!r}: no class {unknown[:80]!r}; the classes are {', '.join(schema.names[:50])}{hint}"


def keep(root: Root, model: str, told: Sequence[Truth], by: str | None) -> None:
    """Write what was said into the store; once this returns, it is there.

    Args:
        by: name of the key of whoever said it.

    Raises:
        StorageError: the store does not take it.
    """
    now = datetime.now(UTC)
    rows = [
        {
            "time": now,
            "request_id": one.request_id,
            "task": one.task,
            "label": json.dumps(one.model_dump(mode="json")["label"], ensure_ascii=False),
            "by": by,
        }
        for one in told
    ]
    path = f"{logged.FEEDBACK}/{model}/{now.date()}/{now:%H%M%S}-{uuid.uuid4().hex[:12]}.parquet"
    root.write_bytes(path, logged.written(rows, logged.TRUTHS))


def _form_wrong(told: Truth, schema: LabelSchema) -> str | None:
    match schema.kind, told.label:
        case ("class", str()) | ("classes", tuple()):
            return None
        case "boxes", NamedBoxes():
            return _boxes_wrong(told.label)
        case "mask", _:
            return "what is said of pixels is not taken here"
    wanted = {"class": "one class name", "classes": "a list of class names", "boxes": "boxes and as many names"}
    return f"its label is {wanted[schema.kind]}"


def _boxes_wrong(said: NamedBoxes) -> str | None:
    if len(said.boxes) != len(said.names):
        return f"there are {len(said.boxes)} boxes and {len(said.names)} names; give one name a box"
    if any(not (0 <= x0 < x1 and 0 <= y0 < y1) for x0, y0, x1, y1 in said.boxes):
        return "a box is x0, y0, x1, y1 in pixels, with 0 <= x0 < x1 and 0 <= y0 < y1"
    return None


def _names(told: Truth) -> tuple[str, ...]:
    match told.label:
        case str():
            return (told.label,)
        case NamedBoxes():
            return told.label.names
    return told.label
