"""Validation images as they are stored: what artifacts are calibrated and judged on.

The test split is not read here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw.config.experiment import Limits
from thaw.data import dataset, excerpt, quality
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.errors import DataError
from thaw.storage import Root

SPLIT = "val"
_BATCH = 32


@dataclass(frozen=True)
class Seen:
    """Some decoded images with what they carry, in the same order."""

    images: list[NDArray[np.uint8]]
    annotations: list[Mapping[str, Annotation]]


@dataclass(frozen=True)
class Validation:
    """Some images of a dataset's validation split, always the same ones.

    Attributes:
        most: how many at most; drawn, where the split has more.
    """

    root: Root
    prepared: Dataset
    limits: Limits
    most: int
    seed: int = 0

    @property
    def images(self) -> int:
        """How many there are."""
        return min(self.most, self.prepared.rows(SPLIT))

    def batches(self, most: int | None = None) -> Iterator[Seen]:
        """Yield the images in batches, or ``most`` of them.

        Raises:
            DataError: there is none.
        """
        if not self.images:
            raise DataError(f"{self.prepared.path}: no validation images to judge an artifact by")
        chosen = excerpt.choose(self.prepared.rows(SPLIT), min(self.most, most or self.most), self.seed)
        begin = 0
        for shard in self.prepared.splits[SPLIT]:
            rows = [place - begin for place in chosen if begin <= place < begin + shard.rows]
            begin += shard.rows
            if rows:
                table = dataset.read_shard(self.root, f"{self.prepared.path}/{shard.file}").take(rows)
                for start in range(0, len(rows), _BATCH):
                    yield self._decoded(table.slice(start, _BATCH))

    def pixels(self, preprocess: Preprocess, most: int) -> list[NDArray[np.uint8]]:
        """Return (1, 3, S, S) inputs of at most so many images."""
        seen = (image for batch in self.batches(most) for image in batch.images)
        return [preprocess(as_tensor(image)).unsqueeze(0).numpy() for image in seen]

    def _decoded(self, rows: pa.Table) -> Seen:
        _, images, annotations = zip(*(dataset.encoded(rows, row) for row in range(len(rows))), strict=True)
        return Seen([quality.decode(image, self.limits) for image in images], list(annotations))
