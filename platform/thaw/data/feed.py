"""Feed: which samples make up a batch, and their pixels and targets; a pure function of the step.

Nothing is remembered between steps. A step of the whole group is the same set of images however many workers
share it, and a restart continues with exactly the batch that is due.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw.config.experiment import Augment, Limits
from thaw.data import augment, dataset, quality
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.data.sample import Sample

TARGET = "target."


@dataclass(frozen=True)
class Feed:
    """The batches of one worker from one split.

    Attributes:
        shard_rows: images in each shard, in order.
        labels: task name -> schema.
        batch: images per step over all workers; a multiple of ``workers``.
        augment: random changes for training, which also shuffles; None reads every image once, in order.
    """

    shard_rows: tuple[int, ...]
    labels: Mapping[str, LabelSchema]
    preprocess: Preprocess
    limits: Limits
    batch: int
    augment: Augment | None
    seed: int
    worker: int = 0
    workers: int = 1

    @property
    def images(self) -> int:
        """Images in the split."""
        return sum(self.shard_rows)

    @property
    def epoch_steps(self) -> int:
        """Steps that make an epoch. Training drops the images that fill no whole batch, others each epoch."""
        if self.augment is None:
            return -(-self.images // self.batch)
        return max(1, self.images // self.batch)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return which images of the split this worker sees at ``step``, counted over all epochs."""
        epoch, place = divmod(step, self.epoch_steps)
        if self.augment is None:
            mine = np.arange(self.worker, self.images, self.workers)
            local = self.batch // self.workers
            return mine[place * local : (place + 1) * local]
        order = shuffled(self.seed, epoch, self.images)
        whole = np.resize(order, self.batch) if self.images < self.batch else order
        return whole[place * self.batch : (place + 1) * self.batch][self.worker :: self.workers]

    def load(self, step: int, shard: Callable[[int], pa.Table]) -> dict[str, NDArray[Any]]:
        """Return this worker's batch: ``pixels`` (B, 3, S, S) uint8, and ``target.<task>`` as in LabelSchema.

        Args:
            step: counted over all epochs.
            shard: gives the rows of a shard by its place.
        """
        starts = np.cumsum([0, *self.shard_rows])
        samples = []
        for row in self.rows(step):
            place = int(np.searchsorted(starts, row, side="right")) - 1
            samples.append(self._sample(shard(place), int(row - starts[place])))
        epoch = step // self.epoch_steps
        size = self.preprocess.size
        pixels = np.empty((len(samples), 3, size, size), dtype=np.uint8)  # a worker may be left without an image
        for place, sample in enumerate(samples):
            pixels[place] = self._pixels(sample, epoch)
        targets = {
            TARGET + task: schema.targets([sample.annotations[task] for sample in samples])
            for task, schema in self.labels.items()
        }
        return {"pixels": pixels, **targets}

    def _sample(self, shard: pa.Table, row: int) -> Sample:
        sample_id, image, annotations = dataset.encoded(shard, row)
        return Sample(sample_id, quality.decode(image, self.limits), annotations)

    def _pixels(self, sample: Sample, epoch: int) -> NDArray[np.uint8]:
        image = as_tensor(sample.image)
        if self.augment is not None:
            random = augment.generator(self.seed, epoch, sample.id)
            image = augment.augment(image, self.augment, random)
        pixels: NDArray[np.uint8] = self.preprocess(image).numpy()
        return pixels


@functools.lru_cache(maxsize=2)
def shuffled(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch: a permutation of all images, seeded by (seed, epoch)."""
    order = augment.generator(seed, epoch, "order").permutation(images)
    order.flags.writeable = False  # every caller gets the same one
    return order
