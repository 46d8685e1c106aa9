"""Shards: the content of one Parquet file, read from the source once more and brought to its stored form.

What is in which shard was decided before (see thaw.data.prepare); how it is laid out is thaw.data.dataset's.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from thaw.config.experiment import Limits
from thaw.data import check, dataset, quality
from thaw.data.check import Row
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.data.sources.contract import BadLabel, Source
from thaw.errors import DataError
from thaw.metrics.masks import IGNORED

_JPEG_QUALITY = 95
_JPEG_BYTES = 0.5
"""About what a pixel takes at this quality."""


def shard_table(
    source: Source,
    rows: Sequence[Row],
    labels: Mapping[str, LabelSchema],
    reencode: int | None,
    limits: Limits,
) -> pa.Table:
    """Return the content of one shard. Boxes and masks shrink with their image where it is stored smaller.

    Raises:
        DataError: an image or a mask changed since it was checked.
    """
    sizes = [_stored_size(row["width"], row["height"], reencode) for row in rows]
    images = list[bytes]()
    annotations: dict[str, list[Annotation]] = {task: [] for task in labels}
    for row, size in zip(rows, sizes, strict=True):  # all of one image before the next: a source may have it at hand
        images.append(_content(source, row, size, limits))
        for task, schema in labels.items():
            annotations[task].append(_annotation(source, task, schema, row, size))
    return dataset.table([row["id"] for row in rows], images, sizes, annotations, labels)


def _stored_size(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Return the width and height at which an image is stored: ``side`` along its shorter edge if it is larger."""
    if side is None or min(width, height) <= side:
        return width, height
    scale = side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def stored_bytes(
    encoded: NDArray[np.int64], width: NDArray[np.int64], height: NDArray[np.int64], reencode: int | None
) -> NDArray[np.int64]:
    """Return (N,) about how many bytes images take in a shard, whose files take ``encoded`` ones."""
    if reencode is None:
        return encoded
    scale = np.minimum(1.0, reencode / np.minimum(width, height))
    drawn = width * height * scale**2 * _JPEG_BYTES
    return np.where(scale < 1, np.minimum(encoded, drawn), encoded).astype(np.int64)


def _content(source: Source, row: Row, size: tuple[int, int], limits: Limits) -> bytes:
    try:
        content = source.read(row["id"], limits.max_bytes + 1)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise DataError(f"{row['id']}: changed while the dataset was being prepared; run prepare again")
    return content if size == (row["width"], row["height"]) else _resized(content, size, limits)


def _resized(content: bytes, size: tuple[int, int], limits: Limits) -> bytes:
    """Return an image as JPEG of another size."""
    buffer = io.BytesIO()
    image = Image.fromarray(quality.decode(content, limits)).resize(size, Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _annotation(source: Source, task: str, schema: LabelSchema, row: Row, size: tuple[int, int]) -> Annotation:
    planned = row["annotations"][task]
    if planned is None or schema.kind == "class":
        return planned  # type: ignore[no-any-return] # plain data
    if schema.kind == "classes":
        return tuple(planned)
    if schema.kind == "mask":
        return _mask(source, task, row, size)
    scale = np.array([size[0] / row["width"], size[1] / row["height"]] * 2)
    boxes = (np.array(planned["boxes"], dtype=np.float64).reshape(-1, 4) * scale).astype(np.float32)
    return Boxes(boxes, np.array(planned["labels"], dtype=np.int64))


def _mask(source: Source, task: str, row: Row, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class index of every pixel of the stored image, `IGNORED` where there is none."""
    planned = row["annotations"][task]
    try:
        pixels = source.mask(row["masks"][task], row["width"], row["height"])
    except (OSError, BadLabel):
        pixels = np.empty((0, 0), dtype=np.uint8)
    if check.pixels_hash(pixels) != planned["sha256"]:
        raise DataError(f"{row['id']}: its mask changed while the dataset was being prepared; run prepare again")
    index = np.full(256, IGNORED, dtype=np.uint8)
    for value, place in planned["values"].items():
        index[int(value)] = place
    classes = index[pixels]
    if size == (row["width"], row["height"]):
        return classes
    return np.asarray(Image.fromarray(classes).resize(size, Image.Resampling.NEAREST))
