"""Embedding: the pooled vector that a frozen backbone makes of an image, as a head would be given it in training.

Images are seen as in validation: whole pixels brought to size, nothing random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thaw.backbones import family, weights
from thaw.backbones.contract import Backbone, Features
from thaw.config.experiment import Limits
from thaw.data import dataset, quality
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.model import FinetuneModel
from thaw.probe.candidates import Candidate
from thaw.tasks.contract import Task

_VECTOR = "vector"


@dataclass(frozen=True)
class View:
    """How images are shown to every backbone alike.

    Attributes:
        labels: schemas of the tasks that are asked about.
        seed: of random weights.
        device: cpu or cuda.
    """

    preprocess: Preprocess
    limits: Limits
    labels: Mapping[str, LabelSchema] = field(hash=False)
    seed: int
    device: str


@dataclass(frozen=True)
class Vectors:
    """Some images as a backbone sees them.

    Attributes:
        features: (N, D) float32.
        targets: by task, as in LabelSchema.
    """

    features: NDArray[np.float32]
    targets: Mapping[str, NDArray[np.int64]]

    def labelled(self, task: Task) -> tuple[Tensor, NDArray[np.int64]]:
        """Return (M, D) float64 features and the targets of the images that carry a label for a task."""
        targets = self.targets[task.name]
        kept = np.array([one is not None for one in task.labels.annotations(targets)], dtype=bool)
        return torch.from_numpy(self.features[kept].astype(np.float64)), targets[kept]


def joined(parts: Sequence[Vectors]) -> Vectors:
    """Return all images of some, in order."""
    targets = {task: np.concatenate([one.targets[task] for one in parts]) for task in parts[0].targets}
    return Vectors(np.concatenate([one.features for one in parts]), targets)


@dataclass(frozen=True)
class Embedder:
    """A frozen backbone.

    Attributes:
        sha256: of the backbone's weights; empty where nobody asks which they are.
    """

    model: nn.Module
    sha256: str
    device: torch.device

    @torch.inference_mode()
    def embed(self, images: Sequence[NDArray[np.uint8]], preprocess: Preprocess) -> NDArray[np.float32]:
        """Return (B, D) vectors of (H, W, 3) images."""
        pixels = torch.stack([preprocess(as_tensor(image)) for image in images])
        vectors: Tensor = self.model(pixels.to(self.device))[_VECTOR]
        return vectors.cpu().numpy()


def vectors(embedder: Embedder, shard: pa.Table, rows: Sequence[int], view: View) -> Vectors:
    """Return some rows of a shard as a backbone sees them."""
    _, images, annotations = zip(*(dataset.encoded(shard, row) for row in rows), strict=True)
    pixels = [quality.decode(image, view.limits) for image in images]
    targets = {
        task: schema.targets([carried[task] for carried in annotations], view.preprocess.size)
        for task, schema in view.labels.items()
    }
    return Vectors(embedder.embed(pixels, view.preprocess), targets)


def pretrained(candidate: Candidate, view: View) -> Embedder:
    """Return the backbone with the weights asked for; random ones are the same for the same seed.

    Raises:
        ModelError: the backbone or its weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(view.seed)
        backbone, origin = weights.load(candidate.backbone, candidate.weights, view.preprocess.size)
    return _embedder(backbone, origin.sha256, view.device)


def untrained(name: str, image_size: int, device: str) -> Embedder:
    """Return a backbone with random weights, for what does not depend on them.

    Raises:
        ModelError: there is no such backbone, or it cannot take the size.
    """
    return _embedder(family.of(name).create(name, image_size), "", device)


def _embedder(backbone: Backbone, sha256: str, device: str) -> Embedder:
    model = FinetuneModel(backbone, None, {_VECTOR: _Vector()}, "held").eval()
    return Embedder(model.to(device).to(memory_format=torch.channels_last), sha256, torch.device(device))


class _Vector(nn.Module):
    """A head that says what it was given."""

    def forward(self, features: Features, _targets: Tensor | None = None) -> Tensor:
        """Return (B, D) pooled vectors."""
        return features.pooled.float()
