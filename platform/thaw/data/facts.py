"""Facts: what is measured of every image while it is checked, kept beside the shards as ``facts.parquet``.

One row an image, in the order of the shards: train, val, test, and in each the order of its files. So what looks for
copies, blurred photographs or drift needs to open no image again. What the figures mean for a person is not said here
(see thaw.inspection).
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from thaw.data import quality, signature
from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.storage import Root

FILE = "facts.parquet"
VERSION = 1
"""Of what is found of an image; to be raised when something else is found of the same image in the same columns."""

_FINEST = 2048
"""Most pixels along the longer side; of a larger image some are passed over, for what is measured of the whole of it
needs no more, and memory stays small."""
_VIEW = 256
"""Pixels of the longer side at which blur is measured, about what models see; smaller images stay as they are."""
_REACH = 9
"""Pixels over which blur is measured, as in the paper."""
_LOW, _HIGH, _FEW = 0.05, 0.99, 0.005

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "split": pa.string(),
        "sha256": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "bytes": pa.int64(),
        "format": pa.string(),
        "brightness": pa.float32(),
        "contrast": pa.float32(),
        "low": pa.float32(),
        "high": pa.float32(),
        "spread": pa.float32(),
        "blur": pa.float32(),
        "coverage": pa.string(),
        "signature": pa.string(),
    }
)
"""``width`` and ``height`` are of the upright image; what follows them is what `measure` says, and ``coverage`` is
JSON, task -> `coverage.Coverage` of the image's mask."""
_METADATA = {b"thaw": str(VERSION).encode()}


def measure(content: bytes, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Return what is measured of one image, as plain data.

    ``bytes``, of the file; ``format``, by its content; ``brightness`` and ``contrast``, mean and standard deviation of
    its grey values, 0 to 255; ``low`` and ``high``, the grey values that 5 % and 99 % of its pixels do not exceed;
    ``spread``, the distance between the darkest and the lightest value of the colour channel that varies most, without
    the outermost 0.5 % of pixels on either side; ``blur``, from 0 where neighbours differ to 1 where they do not;
    ``signature``, what it looks like (see `thaw.data.signature`).

    Args:
        pixels: (H, W, 3), upright.
    """
    step = -(-max(pixels.shape[:2]) // _FINEST)
    image = Image.fromarray(pixels[::step, ::step])
    grey = image.convert("L")
    levels, counts = np.arange(256), np.array(grey.histogram(), dtype=np.float64)
    shares = counts / counts.sum()
    mean = float(shares @ levels)
    low, high = np.searchsorted(shares.cumsum(), [_LOW, _HIGH])
    return {
        "bytes": len(content),
        "format": quality.format_of(content),
        "brightness": mean,
        "contrast": float(np.sqrt(shares @ (levels - mean) ** 2)),
        "low": float(low),
        "high": float(high),
        "spread": _spread(image),
        "blur": _blur(grey),
        "signature": signature.of(np.asarray(grey, dtype=np.float32)),
    }


def _spread(image: Image.Image) -> float:
    counts = np.array(image.histogram(), dtype=np.float64).reshape(3, 256)
    grown = counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
    inner = [np.searchsorted(channel, [_FEW, 1 - _FEW]) for channel in grown]
    return float(max(last - first for first, last in inner))


def _blur(grey: Image.Image) -> float:
    """Return how little an image loses when it is blurred, along the direction in which it loses least.

    An image of one colour has nothing to lose, and blur 1.

    Source: Crete et al. 2007, "The blur effect", SPIE 6492, section 2. It tells blurred photographs from plain ones
    where the variance of the Laplacian does not, for contrast and texture cancel.
    """
    if max(grey.size) > _VIEW:
        grey.thumbnail((_VIEW, _VIEW), Image.Resampling.BILINEAR)
    values = np.asarray(grey, dtype=np.int16)
    found = (_kept(values), _kept(np.ascontiguousarray(values.T)))
    return max((one for one in found if one is not None), default=1.0)


def _kept(values: NDArray[np.int16]) -> float | None:
    """Return the share of the differences along columns that a mean over them leaves; None where there are none.

    Neighbouring means differ by their outermost pixels alone, so no mean is computed.
    """
    reach = min(_REACH, len(values) - 1)
    first = (reach - 1) // 2
    near = np.abs(np.diff(values, axis=0))[first : first + len(values) - reach]
    total = int(near.sum())
    if not total:
        return None
    far = np.abs(values[reach:] - values[:-reach])
    return 1.0 - float(np.maximum(0, reach * near - far).sum()) / reach / total


def write(root: Root, path: str, rows: pa.Table) -> None:
    """Write the facts of a dataset's images, in the order of its shards.

    Args:
        path: of the dataset, below the storage root.
        rows: in the columns of `SCHEMA`.
    """
    buffer = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata(_METADATA), buffer)
    root.write_bytes(f"{path}/{FILE}", buffer.getvalue())


def written(root: Root, path: str) -> bool:
    """Return whether a dataset has facts of this version."""
    place = f"{path}/{FILE}"
    if not root.exists(place):
        return False
    found = pq.read_schema(root.path_of(place), filesystem=root.filesystem)
    return bool(found.equals(SCHEMA)) and (found.metadata or {}).items() >= _METADATA.items()


def digests(root: Root, prepared: Dataset, splits: Sequence[str]) -> set[str]:
    """Return the SHA-256 of the files of all images of some splits.

    Raises:
        DataError: as `read`.
    """
    every, first, found = read(root, prepared, ["sha256"])["sha256"].to_pylist(), 0, set[str]()
    for split in prepared.splits:
        after = first + prepared.rows(split)
        if split in splits:
            found |= set(every[first:after])
        first = after
    return found


def read(root: Root, prepared: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the facts of a dataset's images, in the order of its shards.

    Args:
        columns: those that are wanted; all when left out.

    Raises:
        DataError: the dataset has none, or those of another version of Thaw.
    """
    place = f"{prepared.path}/{FILE}"
    if not written(root, prepared.path):
        raise DataError(
            f"{root.shown(place)} is missing or of another version; run `thaw prepare` with the experiment again to "
            "write it"
        )
    return pq.read_table(root.path_of(place), filesystem=root.filesystem, columns=columns)
