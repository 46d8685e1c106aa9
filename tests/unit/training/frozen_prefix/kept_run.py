"""A whole fine-tuning out of encoded images, with a store in memory in place of Ray's."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from thaw import bundle
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data.feed import Feed
from thaw.data.labels import Boxes, LabelSchema
from thaw.data.preprocess import Preprocess
from thaw.training import checkpoint, loop
from thaw.training.frozen_prefix.blocks import Block
from thaw.training.frozen_prefix.cache import FrozenPrefix, Images
from thaw.training.frozen_prefix.claims import Claims, Spot
from thaw.training.frozen_prefix.shelf import Shelf
from thaw.training.plan import FinetunePlan
from thaw.training.state import State
from thaw.training.step import Batch, Device, images_in

SIZE = 32
IMAGES = {"train": 22, "val": 9}
LABELS = {
    "colour": LabelSchema(kind="class", names=("blue", "green", "red")),
    "place": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "paint": LabelSchema(kind="mask", names=("board", "copper")),
}
PHASES: tuple[dict[str, Any], ...] = (
    {"epochs": 3, "depth": 0, "views": 2},
    {"epochs": 1, "depth": 2, "views": 1},
)


def experiment(tasks: tuple[str, ...] = ("colour",), phases: Any = PHASES, **train: Any) -> Experiment:
    kinds = {
        "colour": {"type": "classification"},
        "place": {"type": "detection", "detector": "fcos"},
        "paint": {"type": "segmentation", "channels": 8},
    }
    values = {
        "name": "kept",
        "data": {"source": {"type": "boards"}, "image": {"size": SIZE}},
        "tasks": {task: kinds[task] for task in tasks},
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}, "dropout": 0.0, "pyramid": 16},
        "finetune": {"phases": list(phases), "optimizer": {"name": "sgd", "momentum": 0.5}},
        "train": {"batch": 8, **train},
    }
    return config.parse(values, "test")


def shard(split: str) -> pa.Table:
    """Return little pictures, each unlike all others, with a label of every kind."""
    rows = IMAGES[split]
    random = np.random.default_rng(len(split))
    images = []
    for _ in range(rows):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    boxes = [_boxes(row % 4) if row % 5 else None for row in range(rows)]
    masks = [np.tile(np.arange(48, dtype=np.uint8) // 24, (40, 1)) if row % 3 else None for row in range(rows)]
    labels = {"colour": [row % 3 if row % 4 else None for row in range(rows)], "place": boxes, "paint": masks}
    ids = [f"{split} {row}" for row in range(rows)]
    return dataset.table(ids, images, [(48, 40)] * rows, labels, LABELS)


def _boxes(number: int) -> Boxes:
    edges = np.array([[4 + 3 * one, 5, 30, 34] for one in range(number)], dtype=np.float32).reshape(-1, 4)
    return Boxes(edges, np.arange(number, dtype=np.int64) % 2)


class InMemory:
    """A store of one process."""

    def __init__(self, max_bytes: int = 10**9) -> None:
        self.shelf: Shelf[Block] = Shelf(max_bytes)
        self.claims = Claims()
        self.max_bytes = max_bytes

    def put(self, key: str, place: int, block: Block) -> None:
        self.shelf.put(key, place, block.nbytes, lambda: block)
        self.claims.done((key, place))

    def claim(self, name: str, wanted: Sequence[Spot]) -> list[Spot]:
        return self.claims.claim(name, [spot for spot in wanted if spot[1] not in self.places(spot[0])])

    def release(self, name: str) -> None:
        self.claims.release(name)

    def places(self, key: str) -> set[int]:
        return set(self.shelf.get(key))

    def get(self, key: str) -> dict[int, Block]:
        return self.shelf.get(key)


class KeptRun:
    """Everything that `loop.fit` is given, with batches from a `FrozenPrefix`.

    Attributes:
        decoded: split -> images that were decoded.
        lines: what was told.
    """

    def __init__(
        self,
        chosen: Experiment,
        store: Any,
        worker: int = 0,
        workers: int = 1,
        autocast: torch.dtype | None = None,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.experiment, self.store = chosen, store
        self.on = Device(torch.device(device), autocast, worker, workers)
        labels = {task: LABELS[task] for task in chosen.tasks}
        self.trained: Bundle = bundle.create(chosen, labels)
        self.trained.model.to(device).to(memory_format=torch.channels_last)
        self.decoded, self.lines = {"train": 0, "val": 0}, list[str]()
        train, val = (self._images(split, labels) for split in ("train", "val"))
        groups = [group.name for group in self.trained.model.groups]
        self.plan = FinetunePlan.of(chosen, groups, train.feed.epoch_steps)
        self.state: State = checkpoint.fresh(self.trained, self.plan, chosen.finetune)
        told = self.lines.append
        self.images = FrozenPrefix(self.trained, self.plan, chosen.train.cache, store, train, val, self.on, told)

    def _images(self, split: str, labels: dict[str, LabelSchema]) -> Images:
        table = shard(split)
        chosen = self.experiment
        feed = Feed(
            (IMAGES[split],),
            labels,
            Preprocess.of(chosen.data.image),
            chosen.data.limits,
            chosen.train.batch,
            chosen.data.augment if split == "train" else None,
            chosen.data.augment.least_box,
            chosen.seed,
            self.on.worker,
            self.on.workers,
        )

        def stream(feed: Feed, start: int, stop: int) -> Iterator[Batch]:
            for step in range(start, stop):
                batch = feed.load(step, lambda _place: table)
                self.decoded[split] += images_in(batch)
                if images_in(batch):
                    yield batch

        return Images(f"kept {split}", feed, stream)  # type: ignore[arg-type]

    def validate(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        return loop.evaluate(self.trained.model, self.trained.tasks, self.images.validation(), self.on)

    def fit(self, **more: Any) -> Iterator[loop.Progress]:
        model, tasks, options = self.trained.model, self.trained.tasks, self.experiment.finetune
        return loop.fit(
            model, tasks, self.plan, options, self.state, self.images.batches, self.validate, self.on, 1, **more
        )
