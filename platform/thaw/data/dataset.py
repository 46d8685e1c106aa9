"""Dataset: prepared Parquet shards and ``dataset.json``, the one description of them.

A dataset exists once its ``dataset.json`` does; it is never changed afterwards, and its name ends in the
fingerprint of its content.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from thaw.data.labels import Annotation, LabelSchema
from thaw.errors import DataError
from thaw.storage import Root

FORMAT = 1
"""Version of the shards' layout; part of the fingerprint."""

_LABEL = "label."


class Shard(BaseModel):
    """One Parquet file of a split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: int


class Report(BaseModel):
    """What preparing found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listed: int
    """Images that the source named."""
    rejected: dict[str, int]
    """Reason -> how many images were set aside for it; each is named in rejected.jsonl."""
    classes: dict[str, dict[str, dict[str, int]]]
    """Split -> task -> class -> images."""
    labelled: dict[str, dict[str, int]]
    """Split -> task -> images that carry a label for it."""
    warnings: tuple[str, ...]


class Dataset(BaseModel):
    """Prepared images, their labels and how they were divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: str
    labels: dict[str, LabelSchema]
    splits: dict[str, tuple[Shard, ...]]
    report: Report

    @property
    def path(self) -> str:
        """Where the dataset is, below the storage root."""
        return path_of(self.name, self.fingerprint)

    def rows(self, split: str) -> int:
        """Return the number of images in a split."""
        return sum(shard.rows for shard in self.splits[split])

    @classmethod
    def load(cls, root: Root, path: str) -> Self:
        """Read ``dataset.json``.

        Raises:
            DataError: there is none, or it was written by another version of Thaw.
        """
        try:
            return cls.model_validate(root.read_json(f"{path}/dataset.json"))
        except ValidationError as error:
            raise DataError(f"{root.uri_of(path)}: not a dataset of this version of Thaw: {error}") from None

    def save(self, root: Root) -> None:
        """Write ``dataset.json``, which makes the dataset exist."""
        root.write_json(f"{self.path}/dataset.json", self.model_dump(mode="json"))


def path_of(name: str, fingerprint: str) -> str:
    """Return where a dataset is kept, below the storage root."""
    return f"datasets/{name}-{fingerprint}"


def fingerprint(
    rows: Iterable[Mapping[str, Any]], labels: Mapping[str, LabelSchema], storing: Sequence[int | None]
) -> str:
    """Return a hash of everything that training sees: image bytes, labels, split, and how images are stored.

    Args:
        rows: one mapping an image with ``id``, ``sha256``, ``split`` and ``annotations``, in any order.
        labels: task name -> schema.
        storing: the settings that shape the shards.
    """
    content = hashlib.sha256()
    schemas = {task: schema.fingerprint for task, schema in sorted(labels.items())}
    content.update(json.dumps([FORMAT, *storing, schemas]).encode())
    for row in sorted(rows, key=lambda row: str(row["id"])):
        facts = [row[key] for key in ("id", "sha256", "split", "annotations")]
        content.update(json.dumps(facts, sort_keys=True).encode())
    return content.hexdigest()[:12]


def table(
    ids: Sequence[str],
    images: Sequence[bytes],
    annotations: Mapping[str, Sequence[Annotation]],
    labels: Mapping[str, LabelSchema],
) -> pa.Table:
    """Return shard rows: ``id``, the encoded ``image`` and ``label.<task>`` as class index or list of them."""
    kinds = {"class": pa.int64(), "classes": pa.list_(pa.int64())}
    columns = {"id": pa.array(ids, pa.string()), "image": pa.array(images, pa.large_binary())}
    for task, schema in labels.items():
        columns[_LABEL + task] = pa.array(annotations[task], kinds[schema.kind])
    return pa.table(columns)


def write_shard(root: Root, path: str, rows: pa.Table) -> None:
    """Write shard rows as one Parquet file; images are compressed already."""
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="none", use_dictionary=False)
    root.write_bytes(path, buffer.getvalue().to_pybytes())


def read_shard(root: Root, path: str) -> pa.Table:
    """Read the rows of a shard."""
    return pq.read_table(root.path_of(path), filesystem=root.filesystem)


def encoded(shard: pa.Table, row: int) -> tuple[str, bytes, dict[str, Annotation]]:
    """Return the id, the encoded image and the annotations by task of one row."""
    annotations = {
        name.removeprefix(_LABEL): _annotation(shard[name][row].as_py())
        for name in shard.column_names
        if name.startswith(_LABEL)
    }
    return shard["id"][row].as_py(), shard["image"][row].as_py(), annotations


def _annotation(value: Any) -> Annotation:
    return tuple(value) if isinstance(value, list) else value
