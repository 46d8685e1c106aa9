"""Dataset: prepared Parquet shards and ``dataset.json``, the one description of them.

A dataset exists once its ``dataset.json`` does; it is never changed afterwards, and its name ends in the
fingerprint of its content.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.errors import DataError, StorageError
from thaw.storage import Root

FORMAT = 3
"""Version of the shards' layout; part of the fingerprint."""

_LABEL = "label."


class Shard(BaseModel):
    """One Parquet file of a split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: int
    bytes: int = 0
    """About what its encoded images take, as far as is known before it is written; 0 where nobody said."""


class Report(BaseModel):
    """What preparing found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listed: int
    """Images that the source named."""
    rejected: dict[str, int]
    """Reason -> how many images were set aside for it; each is named in rejected.jsonl."""
    set_aside: dict[str, int] = {}
    """Reason -> how many boxes and masks of good images were set aside for it; each is named in rejected.jsonl."""
    classes: dict[str, dict[str, dict[str, int]]]
    """Split -> task -> class -> images that carry it; for boxes, how many boxes do."""
    labelled: dict[str, dict[str, int]]
    """Split -> task -> images that carry a label for it."""
    warnings: tuple[str, ...]

    def only(self, task: str) -> Self:
        """Return what concerns one task."""
        return self.model_copy(
            update={
                "classes": {split: {task: found[task]} for split, found in self.classes.items()},
                "labelled": {split: {task: found[task]} for split, found in self.labelled.items()},
            }
        )

    def folded(self) -> Self:
        """Return what is said of the same images with those of val among those of train."""
        classes = {task: _summed(found, self.classes["val"][task]) for task, found in self.classes["train"].items()}
        none_left = {task: dict.fromkeys(found, 0) for task, found in self.classes["val"].items()}
        labelled = _summed(self.labelled["train"], self.labelled["val"])
        return self.model_copy(
            update={
                "classes": {**self.classes, "train": classes, "val": none_left},
                "labelled": {**self.labelled, "train": labelled, "val": dict.fromkeys(labelled, 0)},
            }
        )


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class Dataset(BaseModel):
    """Prepared images, their labels and how they were divided.

    The rows of a split are in the order of their keys (see `listing`), which has nothing to do with what they show, and
    shards cut that order into pieces (see `cut`). A shard is named by its content: a dataset to which images were added
    has most of its shards from the one before.
    """

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

    def without(self, split: str) -> Self:
        """Return the same dataset without the images of a split, which cannot be read through it."""
        return self.model_copy(update={"splits": {name: one for name, one in self.splits.items() if name != split}})

    def only(self, task: str) -> Self:
        """Return the same images with the labels of one task."""
        return self.model_copy(update={"labels": {task: self.labels[task]}, "report": self.report.only(task)})

    def folded(self) -> Self:
        """Return the same images with those of val after those of train, and none of val: to learn from both."""
        splits = {**self.splits, "train": (*self.splits["train"], *self.splits["val"]), "val": ()}
        return self.model_copy(update={"splits": splits, "report": self.report.folded()})

    @classmethod
    def load(cls, root: Root, path: str) -> Self:
        """Read ``dataset.json``.

        Raises:
            DataError: there is none, or it was written by another version of Thaw.
        """
        try:
            return cls.model_validate(root.read_json(f"{path}/dataset.json"))
        except ValidationError as error:
            raise DataError(f"{root.shown(path)}: not a dataset of this version of Thaw: {error}") from None

    def save(self, root: Root) -> None:
        """Write ``dataset.json``, which makes the dataset exist."""
        root.write_json(f"{self.path}/dataset.json", self.model_dump(mode="json"))


def path_of(name: str, fingerprint: str) -> str:
    """Return where a dataset is kept, below the storage root."""
    return f"datasets/{name}-{fingerprint}"


def shard_file(
    split: str, rows: Iterable[tuple[str, str, str]], labels: Mapping[str, LabelSchema], reencode: int | None
) -> str:
    """Return the name of a shard: its split, and a hash of all that is in it.

    Args:
        rows: id, SHA-256 and annotations as JSON of each image, in order.
        reencode: as `Data.reencode`.
    """
    kinds = {task: schema.kind for task, schema in sorted(labels.items())}
    content = hashlib.sha256(json.dumps([FORMAT, reencode, kinds]).encode())
    for row in rows:
        content.update(json.dumps(row).encode())
    return f"{split}-{content.hexdigest()[:16]}.parquet"


def fingerprint(splits: Mapping[str, Iterable[Shard]], labels: Mapping[str, LabelSchema]) -> str:
    """Return a hash of everything that training sees: image bytes, labels, split, and how images are stored."""
    files = {split: [shard.file for shard in shards] for split, shards in sorted(splits.items())}
    schemas = {task: schema.fingerprint for task, schema in sorted(labels.items())}
    return hashlib.sha256(json.dumps([FORMAT, files, schemas]).encode()).hexdigest()[:12]


_BOXES = pa.struct([("boxes", pa.list_(pa.list_(pa.float32()))), ("labels", pa.list_(pa.int64()))])
_KINDS = {"class": pa.int64(), "classes": pa.list_(pa.int64()), "boxes": _BOXES, "mask": pa.large_binary()}


def table(
    ids: Sequence[str],
    images: Sequence[bytes],
    sizes: Sequence[tuple[int, int]],
    annotations: Mapping[str, Sequence[Annotation]],
    labels: Mapping[str, LabelSchema],
) -> pa.Table:
    """Return shard rows: ``id``, the encoded ``image``, its ``width`` and ``height``, and ``label.<task>``.

    A label is a class index, a list of them, boxes with a list of them, or a mask of them as PNG.

    Args:
        sizes: width and height of each image as `quality.decode` gives it, upright.
    """
    columns = {"id": pa.array(ids, pa.string()), "image": pa.array(images, pa.large_binary())}
    columns["width"] = pa.array([width for width, _ in sizes], pa.int32())
    columns["height"] = pa.array([height for _, height in sizes], pa.int32())
    for task, schema in labels.items():
        columns[_LABEL + task] = pa.array([_stored(one) for one in annotations[task]], _KINDS[schema.kind])
    return pa.table(columns)


def write_shard(root: Root, path: str, rows: pa.Table) -> None:
    """Write shard rows as one Parquet file; images are compressed already."""
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="none", use_dictionary=False)
    root.write_bytes(path, buffer.getvalue().to_pybytes())


def read_shard(root: Root, path: str) -> pa.Table:
    """Read the rows of a shard.

    Raises:
        StorageError: it is missing or broken.
        OSError: it cannot be reached at present.
    """
    try:
        return pq.read_table(root.path_of(path), filesystem=root.filesystem)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"broken ({error})"
        raise StorageError(
            f"{root.shown(path)}: {what}; restore it, or remove the dataset.json beside it and prepare again"
        ) from None


def as_bitmaps(shard: pa.Table, limits: Limits) -> pa.Table:
    """Return the rows of a shard with every image decoded and stored as a bitmap, which takes next to no time to read.

    Pixels are the same to the bit, so whatever reads either learns the same.

    Raises:
        BadImage: an image cannot be decoded within the limits.
    """
    pictures = [_bitmap(quality.decode(image.as_py(), limits)) for image in shard["image"]]
    return shard.set_column(shard.column_names.index("image"), "image", pa.array(pictures, pa.large_binary()))


def bitmap_sizes(root: Root, prepared: Dataset, split: str) -> NDArray[np.int64]:
    """Return (N,) about how many bytes each image of a split takes as a bitmap, without reading any image."""
    sizes = sizes_of(root, prepared, split)
    return (3 * sizes[:, 0] + 3) * sizes[:, 1] + 64  # lines are filled up to four bytes, after a header


def sizes_of(root: Root, prepared: Dataset, split: str) -> NDArray[np.int64]:
    """Return (N, 2) width and height of each image of a split as it is stored, without reading any image."""
    found = _columns(root, prepared, split, ["width", "height"])
    return np.stack([_whole(found[name]) for name in ("width", "height")], axis=1)


def shorter_side(root: Root, prepared: Dataset, split: str = "train") -> int:
    """Return the median of the shorter sides of stored images, in pixels, by one shard of a split."""
    for shard in prepared.splits[split][:1]:
        path = root.path_of(f"{prepared.path}/{shard.file}")
        rows = pq.read_table(path, filesystem=root.filesystem, columns=["width", "height"])
        return int(np.median(np.minimum(rows["width"].to_numpy(), rows["height"].to_numpy())))
    return 0


def encoded(shard: pa.Table, row: int) -> tuple[str, bytes, dict[str, Annotation]]:
    """Return the id, the encoded image and the annotations by task of one row."""
    annotations = {
        name.removeprefix(_LABEL): _annotation(shard[name][row].as_py())
        for name in shard.column_names
        if name.startswith(_LABEL)
    }
    return shard["id"][row].as_py(), shard["image"][row].as_py(), annotations


def images_at(
    root: Root, prepared: Dataset, split: str, places: Sequence[int]
) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Yield place, and id with encoded image, of some images of a split, whose places are in order."""
    begin = 0
    for shard in prepared.splits[split]:
        rows = [place - begin for place in places if begin <= place < begin + shard.rows]
        if rows:
            path = root.path_of(f"{prepared.path}/{shard.file}")
            table = pq.read_table(path, filesystem=root.filesystem, columns=["id", "image"]).take(rows)
            stored = zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True)
            yield from zip((begin + row for row in rows), stored, strict=True)
        begin += shard.rows


def ids_of(root: Root, prepared: Dataset, split: str) -> list[str]:
    """Return the id of each image of a split in order, without reading any image."""
    return list(_columns(root, prepared, split, ["id"])["id"].to_pylist())


def boxes_of(root: Root, prepared: Dataset, split: str, task: str) -> Iterator[tuple[int, int, Boxes | None]]:
    """Yield width, height and boxes of every image of a split, without reading any image.

    Raises:
        DataError: the task is not one of boxes.
    """
    schema = prepared.labels.get(task)
    if schema is None or schema.kind != "boxes":
        raise DataError(f"{prepared.path}: task {task} has no boxes; it holds {', '.join(prepared.labels)}")
    columns = ["width", "height", _LABEL + task]
    found = _columns(root, prepared, split, columns)
    for width, height, boxes in zip(*(found[column].to_pylist() for column in columns), strict=True):
        yield width, height, None if boxes is None else _boxes(boxes)


def labelled(root: Root, prepared: Dataset, split: str, task: str) -> NDArray[np.bool_]:
    """Return (N,) whether each image of a split carries a label for a task, without reading any image."""
    cells = _columns(root, prepared, split, [_LABEL + task])[_LABEL + task]
    return np.array(cells.is_valid().to_pylist(), dtype=bool)


def classes_of(root: Root, prepared: Dataset, split: str, task: str) -> NDArray[np.int64]:
    """Return (N,) the class index of each image of a split for a single-class task, -1 where it carries no label."""
    return _whole(_columns(root, prepared, split, [_LABEL + task])[_LABEL + task])


def sets_of(root: Root, prepared: Dataset, split: str, task: str) -> NDArray[np.int64]:
    """Return (N, C) which classes each image of a split carries for a task of several, all -1 without a label."""
    cells = _columns(root, prepared, split, [_LABEL + task])[_LABEL + task]
    return np.asarray(prepared.labels[task].targets([_annotation(one) for one in cells.to_pylist()], 1), dtype=np.int64)


def _whole(cells: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return whole numbers, -1 where a cell is empty."""
    return np.asarray(cells.cast(pa.int64()).fill_null(-1).to_numpy(), dtype=np.int64)


def _columns(root: Root, prepared: Dataset, split: str, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a split, of all its shards in order, read at once and without reading any image."""
    paths = [root.path_of(f"{prepared.path}/{shard.file}") for shard in prepared.splits[split]]
    if not paths:
        return pa.table({column: pa.array([], _type_of(prepared, column)) for column in columns})
    return pq.read_table(paths, filesystem=root.filesystem, columns=list(columns), partitioning=None)


def _type_of(prepared: Dataset, column: str) -> pa.DataType:
    return _KINDS[prepared.labels[column.removeprefix(_LABEL)].kind] if column.startswith(_LABEL) else pa.int32()


def _stored(annotation: Annotation) -> Any:
    """Return an annotation as a cell."""
    match annotation:
        case Boxes():
            return {"boxes": annotation.boxes.tolist(), "labels": annotation.labels.tolist()}
        case np.ndarray():
            return _png(annotation)
    return annotation


def _annotation(value: Any) -> Annotation:
    """Return the annotation in a cell."""
    match value:
        case list():
            return tuple(value)
        case dict():
            return _boxes(value)
        case bytes():
            with Image.open(io.BytesIO(value), formats=("PNG",)) as image:
                return np.array(image)
    return value  # type: ignore[no-any-return] # an index or None


def _boxes(value: Mapping[str, Any]) -> Boxes:
    boxes = np.array(value["boxes"], dtype=np.float32).reshape(-1, 4)
    return Boxes(boxes, np.array(value["labels"], dtype=np.int64))


def _bitmap(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


def _png(mask: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()
