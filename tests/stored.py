"""A stored model with the run and the dataset that it comes from, made without Ray and without training.

Images are of one of three colours each. The network is random, and its heads are solved for these images, so that it is
right on most of them, and wrong where colours are.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from thaw import bundle, golden
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.preprocess import as_tensor
from thaw.export.validation import Validation
from thaw.registry import record as records
from thaw.registry import store
from thaw.storage import Root, open_root
from thaw.training import run

LABELS = {
    "colour": LabelSchema(kind="class", names=("blue", "green", "red")),
    "tags": LabelSchema(kind="classes", names=("bright", "warm")),
}
SIZE = 32
IMAGES = 24
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Stored:
    """A model in a store.

    Attributes:
        bundle: what is stored, as it was made.
        reference: of its version.
    """

    root: Root
    experiment: Experiment
    prepared: Dataset
    bundle: Bundle
    reference: str

    @property
    def validation(self) -> Validation:
        """Its validation images."""
        return Validation(self.root, self.prepared, self.experiment.data.limits, IMAGES)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self.root.path_of(store.resolve(self.root, self.reference).path))


def stored(place: Path, backbone: str = "test_resnet", **model: Any) -> Stored:
    """Make a dataset, a run and a model in a folder; adapters, where the model has some, are as if they had learnt."""
    root = open_root(str(place / "store"))
    values = {
        "name": "colours",
        "data": {"source": {"type": "boards"}, "image": {"size": SIZE, "fit": "letterbox"}},
        "tasks": {"colour": {"type": "classification"}, "tags": {"type": "multilabel"}},
        "model": {"backbone": backbone, "weights": {"source": "none"}} | model,
        "finetune": {"phases": [{"epochs": 1, "depth": 1}]},
        "train": {"batch": 8, "precision": "fp32", "device": "cpu"},
        "storage": {"root": root.uri},
    }
    experiment = config.parse(values, "test")
    prepared = _dataset(root)
    made = _solved(bundle.create(experiment, LABELS))
    begun = run.begin(experiment, prepared)
    records.save(root, begun)
    folder = place / "bundle"
    folder.mkdir()
    made.save(folder)
    golden.write(made, golden.draw(root, prepared, 0), folder)
    lineage = store.Lineage(run_id=begun.id, dataset_fingerprint=prepared.fingerprint)
    version = store.register(root, "colours", folder, lineage)
    return Stored(root, experiment, prepared, made, f"colours/{version}")


def image(seed: int) -> np.ndarray:
    """Return one image; its colour is its seed's remainder."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 120, (40, 52, 3), dtype=np.uint8)
    pixels[..., 2 - seed % 3] += 100
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """Return an image as a file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _annotations(seeds: range) -> dict[str, list[Annotation]]:
    tags = {0: (), 1: (0,), 2: (0, 1)}
    return {"colour": [seed % 3 for seed in seeds], "tags": [tags[seed % 3] for seed in seeds]}


def _dataset(root: Root) -> Dataset:
    report = Report(
        listed=IMAGES * len(SPLITS),
        rejected={},
        classes={split: {task: {} for task in LABELS} for split in SPLITS},
        labelled={split: dict.fromkeys(LABELS, IMAGES) for split in SPLITS},
        warnings=(),
    )
    half = IMAGES // 2
    splits: dict[str, Any] = {}
    prepared = Dataset(name="colours", fingerprint="f" * 12, labels=LABELS, splits=splits, report=report)
    for place, split in enumerate(SPLITS):
        for part in range(2):
            seeds = range(place * IMAGES + part * half, place * IMAGES + (part + 1) * half)
            rows = dataset.table(
                [f"{split}{seed}" for seed in seeds],
                [png(image(seed)) for seed in seeds],
                [(52, 40)] * half,
                _annotations(seeds),
                LABELS,
            )
            dataset.write_shard(root, f"{prepared.path}/{split}-{part}.parquet", rows)
        splits[split] = tuple(Shard(file=f"{split}-{part}.parquet", rows=half) for part in range(2))
    prepared = prepared.model_copy(update={"splits": splits})
    prepared.save(root)
    return prepared


def _solved(made: Bundle) -> Bundle:
    """Give the heads the weights that answer the training images best, by least squares."""
    made.model.eval()
    for name, weight in made.model.own_state().items():
        if "lora_B" in name:
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    seeds = range(IMAGES)
    pixels = torch.stack([made.description.preprocess(as_tensor(image(seed))) for seed in seeds])
    with torch.no_grad():
        pooled = made.model.backbone(made.model._normalised(pixels), False).pooled
        given = torch.cat([pooled, torch.ones(len(pooled), 1)], dim=1)
        for task, annotations in _annotations(seeds).items():
            targets = torch.as_tensor(LABELS[task].targets(annotations, 0))
            wanted = torch.nn.functional.one_hot(targets) if targets.dim() == 1 else targets
            solved = torch.linalg.lstsq(
                given.double(), 8.0 * wanted.double() - 4.0, rcond=1e-6, driver="gelsd"
            ).solution
            linear = made.model.heads[task][1]
            linear.weight.copy_(solved[:-1].T)
            linear.bias.copy_(solved[-1])
    return made
