"""A fine-tuning whose best rate is known: a linear head and a scale below it, with a squared loss."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thaw.backbones.contract import Backbone, Features, LayerGroup
from thaw.config.experiment import Finetune, Optimizer, TaskOptions
from thaw.data.labels import LabelSchema
from thaw.model import FinetuneModel
from thaw.tasks.contract import HeadInputs, PooledHead, Task
from thaw.training.loop import Batch, Device
from thaw.training.lr_find.sweep import Learner

BATCH = 12


class Scale(Backbone):
    """Each colour of an image, multiplied by a weight of its own."""

    num_features = 3
    mean = (0.0, 0.0, 0.0)
    groups = (LayerGroup("scale", ("scale",)),)
    maps = ()

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = (std, std, std)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor, with_maps: bool) -> Features:
        return Features(images.mean(dim=(2, 3)) * self.scale, images.shape[-1])


class Square(Task):
    """A number for each image."""

    def build_head(self, inputs: HeadInputs) -> nn.Module:
        return PooledHead(inputs, 1)

    def labelled(self, targets: Tensor) -> Tensor:
        return torch.ones(len(targets), dtype=torch.bool)

    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        return ((outputs[:, 0] - targets) ** 2).sum(), torch.tensor(len(targets))

    def readout(self, outputs: Any) -> dict[str, Tensor]:
        return {}

    def read(self, readout: Mapping[str, Tensor], placements: Sequence[Any]) -> list[Any]:
        return []

    def reading(self) -> dict[str, Any]:
        raise NotImplementedError

    def tensor_facts(self) -> dict[str, Any]:
        raise NotImplementedError

    def tensors(self, answers: Sequence[Any]) -> dict[str, Any]:
        raise NotImplementedError

    def meter(self) -> Any:
        raise NotImplementedError

    def sample(self, answers: Sequence[Any], annotations: Sequence[Any]) -> Any:
        raise NotImplementedError


def steepest_rate(std: float) -> float:
    """Return the rate above which plain gradient steps on the head run away.

    Each third of a batch lights one colour up, as 1 / std, and a bias is on for all of it. So the loss has the
    curvature 2 (3 + 1 / std^2) / 3 where it is steepest, and steps diverge from 2 over that on.
    """
    return 3 / (3 + 1 / std**2)


def learner(std: float = 1.0, seed: int = 0) -> Learner:
    """Return the model at its start; the smaller ``std``, the steeper the loss."""
    torch.manual_seed(seed)
    options = TaskOptions(type="square")
    task = Square("number", options, LabelSchema(kind="class", names=("one",)))
    model = FinetuneModel(Scale(std), None, {"number": task.build_head(HeadInputs(3, 0.0, 0, ()))}, "held")
    plain = Finetune(optimizer=Optimizer(name="sgd", momentum=0.0, weight_decay=0.0, clip_norm=None))
    return Learner(model, {"number": task}, plain, Device(torch.device("cpu"), None), seed)


def batches(noise: float = 0.3) -> Any:
    """Return batches of colours and what they stand for, which differs from batch to batch by ``noise``."""
    pixels = np.zeros((BATCH, 3, 2, 2), dtype=np.uint8)
    pixels[np.arange(BATCH), np.arange(BATCH) % 3] = 255
    means = np.array([4.0, -3.0, 2.0])[np.arange(BATCH) % 3]

    def stream(start: int, stop: int) -> Generator[Batch]:
        for step in range(start, stop):
            own = np.random.default_rng(step).normal(0, noise, BATCH)
            yield {"pixels": pixels, "target.number": (means + own).astype(np.float32)}

    return stream


def told(steps: Iterator[Any]) -> tuple[list[Any], Any]:
    """Return what a generator yields, and what it returns at its end."""
    found = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            return found, end.value
