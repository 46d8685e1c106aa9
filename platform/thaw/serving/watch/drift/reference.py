"""Reference: what a version answers to the validation images it was chosen on, and what its backbone makes of them.

Computed once a version, by its bundle, and kept; of many images a part is drawn, the same one every time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw import predictor
from thaw.bundle import Bundle
from thaw.config.limits import Limits
from thaw.console import track
from thaw.data import dataset, excerpt, logged, quality
from thaw.data.dataset import Dataset
from thaw.data.quality import BadImage
from thaw.errors import DataError
from thaw.predictor import Answers, Placed
from thaw.probe.two_samples import MOST_IMAGES
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.store import ModelVersion
from thaw.serving.watch.log import decided
from thaw.storage import Root

FOLDER = "serving/reference"
_BATCH = 32


@dataclass(frozen=True)
class Reference:
    """What is kept of N validation images.

    Attributes:
        rows: columns ``decided`` and ``embedding``, as in a log.
        dataset: path below the storage root.
    """

    rows: pa.Table
    dataset: str

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(N, D) pooled vectors."""
        return as_vectors(self.rows["embedding"])


def of(root: Root, found: ModelVersion, network: Bundle) -> Reference:
    """Return the reference of a version, computed unless it was before.

    Raises:
        DataError: the dataset that it was trained with is gone.
        StorageError: its lineage or its run is not in the store.
    """
    path = f"{FOLDER}/{found.name}/{found.version}.parquet"
    record = records.load(root, store.lineage(root, found).run_id)
    if not root.exists(path):
        if not root.exists(f"{record.dataset}/dataset.json"):
            raise DataError(
                f"{root.shown(record.dataset)}: the dataset of run {record.id} is gone, whose validation images are "
                "compared with; run `thaw prepare` with its experiment"
            )
        limits = Limits.model_validate(record.experiment["data"]["limits"])
        rows = list(_computed(root, Dataset.load(root, record.dataset), network, limits, record.experiment["seed"]))
        root.write_bytes(path, logged.written(rows, _SCHEMA))
    return Reference(logged.read(root, path, _SCHEMA.names), record.dataset)


def embedded(
    network: Bundle, images: Sequence[bytes], limits: Limits
) -> Iterator[tuple[Answers, NDArray[np.float16]] | None]:
    """Yield answers and pooled vector of encoded images, None of those that cannot be decoded."""
    for first in range(0, len(images), _BATCH):
        placed = [_placed(network, image, limits) for image in images[first : first + _BATCH]]
        found = iter(predictor.answer_and_embed(network, [one for one in placed if one]))
        yield from (next(found) if one else None for one in placed)


def _placed(network: Bundle, image: bytes, limits: Limits) -> Placed | None:
    try:
        return predictor.place(network.description.preprocess, quality.decode(image, limits))
    except BadImage:
        return None


def as_vectors(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return (N, D) vectors out of a column ``embedding`` in which none is missing."""
    lists = column.combine_chunks()
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(len(lists), -1)


def _computed(root: Root, prepared: Dataset, network: Bundle, limits: Limits, seed: int) -> Iterator[dict[str, object]]:
    places = sorted(excerpt.choose(prepared.rows("val"), MOST_IMAGES, seed))
    if not places:
        raise DataError(f"{prepared.path}: it has no validation images to compare with")
    images = [image for _, (_, image) in dataset.images_at(root, prepared, "val", places)]
    found = embedded(network, images, limits)
    for one in track(found, "answering validation images, once for this version", len(images)):
        if one:
            yield {"decided": decided(one[0]), "embedding": one[1]}


_SCHEMA = pa.schema([logged.ANSWERS.field("decided"), logged.ANSWERS.field("embedding")])
