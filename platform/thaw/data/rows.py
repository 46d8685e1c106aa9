"""Rows: what goes into shards, as columns; and what there is of every class.

Labels become objects for a few images at a time, so that what is held of all of them stays small.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from thaw.data import cut, dataset, split
from thaw.data.check import Row
from thaw.data.dataset import Shard
from thaw.data.found import labels_in
from thaw.data.labels import LabelSchema, counts
from thaw.data.shards import stored_bytes
from thaw.data.sift import CheckedMask, shown_of
from thaw.data.sources.contract import RawBoxes, RawLabel

_AT_ONCE = 1024
_PLAIN = ("id", "sha256", "split", "width", "height")
_JSON = ("annotations", "masks")


@dataclass(frozen=True)
class Counts:
    """What there is in each split, by task.

    Attributes:
        classes: how many images carry each class; of boxes, how many boxes do.
        labelled: how many images carry a label.
    """

    classes: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: _by_split(Counter))
    labelled: dict[str, dict[str, int]] = field(default_factory=lambda: _by_split(int))

    def add(self, side: str, task: str, schema: LabelSchema, labels: Sequence[RawLabel]) -> None:
        """Count some images' labels."""
        self.classes[side][task].update(counts(schema, labels))
        self.labelled[side][task] += sum(label is not None for label in labels)


def _by_split(kind: Any) -> dict[str, Any]:
    return {side: defaultdict(kind) for side in split.SPLITS}


class ShardRows(Mapping[str, list[Row]]):
    """Shard file -> the images in it, as plain data that is made when it is asked for.

    ``id``, ``sha256``, ``split``, ``width``, ``height``; ``annotations`` by task, with class indices; ``masks``, where
    the source has the mask of a task, which is no part of what training sees.
    """

    def __init__(self, rows: pa.Table, places: Mapping[str, slice]) -> None:
        """Use the images of all shards, and which of them each shard has."""
        self._rows, self._places = rows.select([*_PLAIN, *_JSON]), places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, file: str) -> list[Row]:
        return plain(self.table(file))

    def table(self, file: str) -> pa.Table:
        """Return the images in a shard as columns, which `plain` reads."""
        place = self._places[file]
        return self._rows.slice(place.start, place.stop - place.start)


def plain(rows: pa.Table) -> list[Row]:
    """Return the images of a shard as plain data."""
    return [row | {name: json.loads(row[name]) for name in _JSON} for row in rows.select([*_PLAIN, *_JSON]).to_pylist()]


def annotated(rows: pa.Table, labels: Mapping[str, LabelSchema]) -> tuple[pa.Table, Counts]:
    """Return the rows with ``annotations`` and ``masks`` by task as JSON in place of their labels, and what there is.

    Args:
        rows: of `found.Found`, with their splits.
    """
    counted, kinds = Counts(), {task: schema.kind for task, schema in labels.items()}
    texts: dict[str, list[pa.Array]] = {name: [pa.array([], pa.string())] for name in _JSON}
    for batch in rows.select(["split", "labels"]).to_batches(max_chunksize=_AT_ONCE):
        found = [labels_in(text, kinds) for text in batch["labels"].to_pylist()]
        for side in split.SPLITS:
            mine = [one for one, of in zip(found, batch["split"].to_pylist(), strict=True) if of == side]
            for task, schema in labels.items():
                counted.add(side, task, schema, [shown_of(one[task]) for one in mine])
        texts["annotations"].append(pa.array([_annotations(one, labels) for one in found], pa.string()))
        texts["masks"].append(pa.array([_masks(one) for one in found], pa.string()))
    for name, arrays in texts.items():
        rows = rows.append_column(name, pa.chunked_array(arrays))
    return rows.drop_columns(["labels"]), counted


def _annotations(one: Mapping[str, RawLabel | CheckedMask], labels: Mapping[str, LabelSchema]) -> str:
    return json.dumps({task: _indexed(one[task], schema) for task, schema in labels.items()}, sort_keys=True)


def _masks(one: Mapping[str, RawLabel | CheckedMask]) -> str:
    return json.dumps({task: label.id for task, label in one.items() if isinstance(label, CheckedMask)})


def _indexed(label: RawLabel | CheckedMask, schema: LabelSchema) -> Any:
    """Return a label with class indices in place of names, as plain data."""
    match label:
        case RawBoxes():
            return {"boxes": [list(box) for box in label.boxes], "labels": [schema.index[name] for name in label.names]}
        case CheckedMask():
            values = {str(value): schema.index[name] for value, name in label.names.items() if name in schema.index}
            return {"sha256": label.sha256, "values": values}
    return schema.encode(label)


def shards(
    rows: pa.Table, labels: Mapping[str, LabelSchema], reencode: int | None, most: int, most_bytes: int
) -> tuple[dict[str, tuple[Shard, ...]], ShardRows]:
    """Return the shards that annotated rows make, by split, and the rows of each.

    Args:
        rows: by split, and by key within each.
        most: images that a shard may have, and ``most_bytes`` the bytes.
    """
    keys, of = rows["key"].to_numpy(), np.asarray(rows["split"].to_pylist())
    encoded, width, height = (
        rows[name].fill_null(0).to_numpy().astype(np.int64) for name in ("bytes", "width", "height")
    )
    sizes = stored_bytes(encoded, width, height, reencode)
    found: dict[str, tuple[Shard, ...]] = {}
    places: dict[str, slice] = {}
    for side in split.SPLITS:
        mine = np.flatnonzero(of == side)
        first = int(mine[0]) if len(mine) else 0
        described = []
        for piece in cut.pieces(keys[mine], most, sizes[mine], most_bytes):
            place = slice(first + piece.start, first + piece.stop)
            file = dataset.shard_file(side, _content(rows, place), labels, reencode)
            places[file] = place
            described.append(Shard(file=file, rows=place.stop - place.start, bytes=int(sizes[place].sum())))
        found[side] = tuple(described)
    return found, ShardRows(rows, places)


def _content(rows: pa.Table, place: slice) -> Iterator[tuple[str, str, str]]:
    columns = rows.slice(place.start, place.stop - place.start).select(["id", "sha256", "annotations"])
    return zip(*(column.to_pylist() for column in columns.columns), strict=True)
