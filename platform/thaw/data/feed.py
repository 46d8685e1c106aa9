"""Feed: which samples make up a batch, and their pixels and targets; a pure function of the step.

Nothing is remembered between steps. A step of the whole group is the same set of images however many workers
share it, and a restart continues with exactly the batch that is due.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from thaw.config.experiment import Augment, Limits
from thaw.data import augment, dataset, mix, quality
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.order import Order, of_epoch
from thaw.data.preprocess import Preprocess
from thaw.data.sample import Sample
from thaw.data.scene import Scene

TARGET = "target."
_AHEAD = 64
"""Steps before they are read in order at which shards should be on their way."""


@dataclass(frozen=True)
class Feed:
    """The batches of one worker from one split.

    Attributes:
        shard_rows: images in each shard, in order.
        labels: task name -> schema.
        batch: images per step over all workers; a multiple of ``workers``.
        augment: random changes for training, which also shuffles; None reads every image once, in order.
        least_box: share of a box's area that must be in view.
        chances: how likely each image is to be drawn for training, summing to 1; None draws each once an epoch.
        views: how many differently augmented views of each image take turns over the epochs; None makes new ones in
            every epoch. In which order images come differs between epochs all the same.
        in_order: read every image once, in order, even where they are augmented.
        window: about how many images are held and shuffled together (see thaw.data.order); None is all of them.
    """

    shard_rows: tuple[int, ...]
    labels: Mapping[str, LabelSchema]
    preprocess: Preprocess
    limits: Limits
    batch: int
    augment: Augment | None
    least_box: float
    seed: int
    worker: int = 0
    workers: int = 1
    chances: NDArray[np.float64] | None = None
    views: int | None = None
    in_order: bool = False
    window: int | None = None
    _orders: dict[int, Order] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def images(self) -> int:
        """Images in the split."""
        return sum(self.shard_rows)

    @property
    def batch_bytes(self) -> int:
        """Bytes of one worker's batch, without its targets but for masks."""
        masks = sum(schema.kind == "mask" for schema in self.labels.values())
        return self.batch // self.workers * (3 + masks) * self.preprocess.size**2

    @property
    def epoch_steps(self) -> int:
        """Steps that make an epoch. Training drops the images that fill no whole batch, others each epoch."""
        if self._reads:
            return -(-self.images // self.batch)
        return max(1, self.images // self.batch)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return which images of the split this worker sees at ``step``, counted over all epochs."""
        epoch, place = divmod(step, self.epoch_steps)
        if self._reads:
            mine = np.arange(self.worker, self.images, self.workers)
            local = self.batch // self.workers
            return mine[place * local : (place + 1) * local]
        order = self._order(epoch).rows
        whole = np.resize(order, self.batch) if self.images < self.batch else order
        return whole[place * self.batch : (place + 1) * self.batch][self.worker :: self.workers]

    @property
    def _reads(self) -> bool:
        return self.augment is None or self.in_order

    def _order(self, epoch: int) -> Order:
        """Return the order of an epoch, kept until another epoch is asked for."""
        order = self._orders.get(epoch)
        if order is None:
            order = of_epoch(self.seed, epoch, self.shard_rows, self.chances, self.window)
            self._orders.clear()
            self._orders[epoch] = order
        return order

    def shards(self, steps: range) -> set[int]:
        """Return the places of the shards that these steps read; where images are shuffled, all of their windows."""
        found = set[int]()
        for epoch, mine in itertools.groupby(steps, lambda step: step // self.epoch_steps):
            places = [step % self.epoch_steps for step in mine]
            if not self._reads or self._mixes:
                found |= self._order(epoch).shards(places[0] * self.batch, (places[-1] + 1) * self.batch)
            if self._reads:
                rows = np.concatenate([self.rows(step) for step in places])
                found.update(self._shards_of(rows).tolist())
        return found

    @property
    def steps_ahead(self) -> int:
        """Steps before they are read at which shards should be on their way: where windows are, those of half a one."""
        return _AHEAD if self.window is None else self.window // self.batch // 2

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """One after the last row of each shard."""
        return np.cumsum(self.shard_rows, dtype=np.int64)

    def _shards_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._ends, rows, side="right")

    def load(self, step: int, shard: Callable[[int], pa.Table]) -> dict[str, NDArray[Any]]:
        """Return this worker's batch: ``pixels`` (B, 3, S, S) uint8, and ``target.<task>`` as in LabelSchema.

        Args:
            step: counted over all epochs.
            shard: gives the rows of a shard by its place.
        """
        first = step % self.epoch_steps * self.batch + self.worker
        return self._batch(
            [
                self._seen(int(row), step, first + place * self.workers, shard)
                for place, row in enumerate(self.rows(step))
            ]
        )

    def places(self, row: int, epoch: int) -> list[int]:
        """Return where in an epoch of training an image of the split comes: mostly once, at times not or more often."""
        order = self._order(epoch).rows[: self.epoch_steps * self.batch]
        return [int(place) for place in np.flatnonzero(order == row)]

    def load_one(self, row: int, epoch: int, place: int, shard: Callable[[int], pa.Table]) -> dict[str, NDArray[Any]]:
        """Return an image as it is seen at one of its `places`, as a batch of one; see `load`."""
        return self._batch([self._seen(row, epoch * self.epoch_steps + place // self.batch, place, shard)])

    def _batch(self, seen: Sequence["_Seen"]) -> dict[str, NDArray[Any]]:
        size = self.preprocess.size
        pixels = np.empty((len(seen), 3, size, size), dtype=np.uint8)  # a worker may be left without an image
        for place, one in enumerate(seen):
            pixels[place] = one.pixels.numpy()
        return {"pixels": pixels, **{TARGET + task: self._targets(task, seen) for task in self.labels}}

    def view(self, step: int) -> int:
        """Return which view of the images is seen at ``step``: that of the epoch of this number."""
        epoch = step // self.epoch_steps
        return epoch if self.views is None else epoch % self.views

    def _targets(self, task: str, seen: Sequence["_Seen"]) -> NDArray[Any]:
        schema, size = self.labels[task], self.preprocess.size
        targets = schema.targets([one.annotations[task] for one in seen], size)
        if not self._blends:
            return targets
        others = schema.targets([one.other[task] for one in seen], size)
        return mix.blended_targets(schema.kind, len(schema.names), targets, others, [one.share for one in seen])

    @property
    def _blends(self) -> bool:
        """Whether images are mixtures of two, all of them, so that the shape of targets never changes."""
        return self.augment is not None and (self.augment.mixup > 0 or self.augment.cutmix > 0)

    @property
    def _mixes(self) -> bool:
        """Whether other images come into an image."""
        return self._blends or (self.augment is not None and self.augment.copy_paste > 0)

    def _seen(self, row: int, step: int, place: int, shard: Callable[[int], pa.Table]) -> "_Seen":
        """Return an image as the model sees it, with its annotations in the same pixels.

        Args:
            place: in the order of the epoch, by which images that are drawn more than once differ.
        """
        sample = self._sample(row, shard)
        options = self.augment
        if options is None:
            pixels, annotations = Scene.of(sample.image, sample.annotations).placed(self.preprocess, self.least_box)
            return _Seen(pixels, annotations, annotations, 1.0)
        drawn_as = sample.id if self.chances is None else f"{sample.id}/{place}"
        random = augment.generator(self.seed, self.view(step), drawn_as)
        scene = augment.augment(Scene.of(sample.image, sample.annotations), options, random)
        if options.copy_paste and random.random() < options.copy_paste:
            scene = mix.pasted(scene, self._another(options, step, place, shard, random), random)
        pixels, annotations = scene.placed(self.preprocess, self.least_box)
        if not self._blends:
            return _Seen(pixels, annotations, annotations, 1.0)
        other, others = self._another(options, step, place, shard, random).placed(self.preprocess, self.least_box)
        pixels, share = mix.blended(pixels, other, options, random)
        return _Seen(pixels, annotations, others, share)

    def _another(
        self, options: Augment, step: int, place: int, shard: Callable[[int], pa.Table], random: np.random.Generator
    ) -> Scene:
        """Return another image, as likely as it is drawn and of those that are held, changed as it is in this view."""
        if self.window is not None:
            row = random.choice(self._order(step // self.epoch_steps).near(place))
        elif self.chances is not None:
            row = random.choice(self.images, p=self.chances)
        else:
            row = random.integers(self.images)
        sample = self._sample(int(row), shard)
        own = augment.generator(self.seed, self.view(step), sample.id)
        return augment.augment(Scene.of(sample.image, sample.annotations), options, own)

    def _sample(self, row: int, shard: Callable[[int], pa.Table]) -> Sample:
        place = int(self._shards_of(np.array([row]))[0])
        first = int(self._ends[place]) - self.shard_rows[place]
        sample_id, image, annotations = dataset.encoded(shard(place), row - first)
        return Sample(sample_id, quality.decode(image, self.limits), {task: annotations[task] for task in self.labels})


@dataclass(frozen=True)
class _Seen:
    """One image of a batch.

    Attributes:
        other: annotations of the image that was blended in; its own where none was.
        share: how much of the image is its own, in [0, 1].
    """

    pixels: Tensor
    annotations: Mapping[str, Annotation]
    other: Mapping[str, Annotation]
    share: float
