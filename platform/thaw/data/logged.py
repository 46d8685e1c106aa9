"""Logged: what an endpoint keeps of some of its answers, and what it was told of them later, by model and day.

Layout and reading alone; what writes stands in thaw.serving.watch. Files are Parquet and never change: they are added,
and removed by whole days.
"""

import json
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thaw.errors import DataError
from thaw.storage import Root

LOG, FEEDBACK = "serving/log", "serving/feedback"
"""Folders below the storage root; in each a folder a model, and in that a folder a day, such as 2026-11-26, in UTC."""

_TIME = pa.timestamp("us", tz="UTC")
_DECIDED = pa.list_(pa.struct([("task", pa.string()), ("label", pa.string()), ("score", pa.float32())]))

ANSWERS = pa.schema(
    [
        ("time", _TIME),
        ("request_id", pa.string()),
        ("version", pa.int32()),
        ("artifact", pa.string()),
        ("answer", pa.string()),
        ("decided", _DECIDED),
        ("image", pa.large_binary()),
        ("whole", pa.bool_()),
        ("embedding", pa.list_(pa.float16())),
    ]
)
"""Columns of the log: ``answer`` is JSON by task, without masks; ``decided`` what it comes to; ``image`` is as it was
sent where ``whole``, else a small JPEG, or null; ``embedding`` is null but for bundles that were asked to keep it."""

TRUTHS = pa.schema(
    [
        ("time", _TIME),
        ("request_id", pa.string()),
        ("task", pa.string()),
        ("label", pa.string()),
        ("by", pa.string()),
    ]
)
"""Columns of feedback: ``label`` is JSON: a class name, a list of them, or boxes with names; ``by`` names a key."""

Label = str | tuple[str, ...] | dict[str, Any]
"""A class name, class names, or ``boxes`` with as many ``names``."""


@dataclass(frozen=True)
class Span:
    """Days from the first to the last; either may be open."""

    first: date | None = None
    last: date | None = None

    def __contains__(self, day: date) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


def days(root: Root, place: str, model: str) -> list[date]:
    """Return the days of which something is kept, oldest first.

    Args:
        place: `LOG` or `FEEDBACK`.
    """
    return sorted(day for name in root.list(f"{place}/{model}") if (day := as_day(name)) is not None)


def as_day(name: str) -> date | None:
    """Return the day that a folder is named after; None where it is named otherwise."""
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def files(root: Root, place: str, model: str, span: Span) -> list[str]:
    """Return the paths of what is kept of some days, in order."""
    return [
        f"{place}/{model}/{day}/{name}"
        for day in days(root, place, model)
        if day in span
        for name in root.list(f"{place}/{model}/{day}")
        if name.endswith(".parquet")
    ]


def read(root: Root, path: str, columns: Sequence[str]) -> pa.Table:
    """Return some columns of one file.

    Raises:
        DataError: it holds something else.
    """
    try:
        return pq.read_table(root.path_of(path), filesystem=root.filesystem, columns=list(columns), partitioning=None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
        raise DataError(f"{root.shown(path)}: nothing that an endpoint wrote: {error}; remove it") from None


def answers(root: Root, model: str, span: Span, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield path and columns of every file of the log of some days."""
    return ((path, read(root, path, columns)) for path in files(root, LOG, model, span))


def shared(root: Root, model: str, span: Span, among: Container[str]) -> frozenset[str]:
    """Return which request ids several answers have: callers choose them, and what is said of one may be of another.

    Args:
        among: ids that are asked for.
    """
    counts = Counter(
        one
        for _, rows in answers(root, model, span, ["request_id"])
        for one in rows["request_id"].to_pylist()
        if one in among
    )
    return frozenset(one for one, count in counts.items() if count > 1)


def truths(root: Root, model: str, first: date | None = None) -> dict[str, dict[str, Label]]:
    """Return request id -> task -> what it truly was, as it was said last.

    Args:
        first: what was said before this day is left out; nothing is said of an answer before it is given.
    """
    said: list[dict[str, Any]] = []
    for path in files(root, FEEDBACK, model, Span(first)):
        said += read(root, path, ["time", "request_id", "task", "label"]).to_pylist()
    found: dict[str, dict[str, Label]] = {}
    for one in sorted(said, key=lambda row: row["time"]):
        label = json.loads(one["label"])
        found.setdefault(one["request_id"], {})[one["task"]] = tuple(label) if isinstance(label, list) else label
    return found


def written(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> bytes:
    """Return rows as a Parquet file, in groups small enough that one image is read without many others."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer, compression="zstd", row_group_size=64)
    content: bytes = buffer.getvalue().to_pybytes()
    return content
