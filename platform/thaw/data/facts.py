"""Facts: what is measured of every image while it is checked, kept beside the shards as ``facts.parquet``.

One row an image, in the order of the shards: train, val, test, and in each the order of its files. So what looks for
copies, blurred photographs or drift needs to open no image again. What the figures mean for a person is not said here
(see thaw.inspection).
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thaw.data import signature
from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.storage import Root

FILE = "facts.parquet"

_FINEST = 512
"""Pixels along the longer side from which on some are passed over: figures of a whole image need no more."""
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "split": pa.string(),
        "sha256": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "bytes": pa.int64(),
        "brightness": pa.float32(),
        "contrast": pa.float32(),
        "signature": pa.string(),
    }
)


def measure(content: bytes, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Return what is measured of one image, as plain data.

    ``bytes``, of the file; ``brightness`` and ``contrast``, mean and standard deviation of its grey values, 0 to 255;
    ``signature``, what it looks like (see `thaw.data.signature`).

    Args:
        pixels: (H, W, 3), upright.
    """
    step = max(1, max(pixels.shape[:2]) // _FINEST)
    grey = pixels[::step, ::step].astype(np.float32) @ _GREY
    return {
        "bytes": len(content),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "signature": signature.of(grey),
    }


def write(root: Root, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the facts of a dataset's images, in the order of its shards.

    Args:
        path: of the dataset, below the storage root.
    """
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), buffer)
    root.write_bytes(f"{path}/{FILE}", buffer.getvalue())


def read(root: Root, prepared: Dataset) -> pa.Table:
    """Return the facts of a dataset's images, in the order of its shards.

    Raises:
        DataError: the dataset has none, for it was prepared by an older Thaw.
    """
    place = f"{prepared.path}/{FILE}"
    if not root.exists(place):
        raise DataError(f"{root.shown(place)} is missing; run `thaw prepare` with the experiment again to write it")
    return pq.read_table(root.path_of(place), filesystem=root.filesystem)
