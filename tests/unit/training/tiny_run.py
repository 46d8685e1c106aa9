"""A whole fine-tuning that takes a second: a tiny network, two heads, sixteen coloured images, no cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from thaw import bundle
from thaw.backbones import timm_models
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data.labels import Boxes, LabelSchema
from thaw.training import checkpoint, loop
from thaw.training.loop import Batch, Device, State
from thaw.training.plan import FinetunePlan

LABELS = {
    "colour": LabelSchema(kind="class", names=("blue", "green", "red")),
    "tags": LabelSchema(kind="classes", names=("bright", "warm")),
}
ALL_LABELS = {
    **LABELS,
    "one": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "two": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "paint": LabelSchema(kind="mask", names=("board", "copper")),
}
DENSE = 64
BATCH = 8
EPOCH_STEPS = 2
BACKBONE = "test_resnet"
RANDOM = {"source": "none"}
RATES = {"head": 0.02, "backbone": 0.005}
PHASES = (
    {"epochs": 2, "depth": 0, "rates": RATES},
    {"epochs": 2, "depth": 2, "rates": RATES},
    {"epochs": 1, "depth": "all", "rates": RATES},
)


def experiment(
    dropout: float = 0.0, phases: Any = PHASES, weights: Mapping[str, Any] = RANDOM, **finetune: Any
) -> Experiment:
    """Return a fine-tuning by these phases, or by a recipe in their place."""
    plan = {} if "recipe" in finetune else {"phases": list(phases)}
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {"colour": {"type": "classification"}, "tags": {"type": "multilabel", "weight": 0.5}},
        "model": {"backbone": BACKBONE, "weights": dict(weights), "dropout": dropout},
        "finetune": {**plan, **finetune},
    }
    return config.parse(values, "test")


def adapted(chosen: Experiment, path: Path, lora: dict[str, Any], seed: int = 0) -> Experiment:
    """Return the fine-tuning with adapters on random weights, which are written to a file."""
    values = chosen.model_dump(mode="json")
    values["model"] |= {"weights": weights_in(path, chosen.model.backbone, seed), "lora": lora}
    return config.parse(values, "test")


def weights_in(path: Path, backbone: str = BACKBONE, seed: int = 0) -> dict[str, Any]:
    """Write random weights to a file, and return where they are as an experiment says it."""
    torch.manual_seed(seed)
    safetensors.torch.save_file(timm_models.create(backbone, 32).body.state_dict(), path)
    return {"source": "path", "path": str(path)}


def images() -> dict[str, NDArray[Any]]:
    """Return sixteen images; labels are missing so that odd rows, those of a second worker, have few."""
    random = np.random.default_rng(0)
    kinds = np.arange(16) % 3
    pixels = random.integers(0, 120, (16, 3, 32, 32))
    pixels[np.arange(16), 2 - kinds] += 100
    colours: list[Any] = [int(kind) for kind in kinds]
    tags: list[Any] = [(0, 1) if kind == 2 else (0,) if kind else () for kind in kinds]
    for row in (1, 3, 5, 7, 9):
        colours[row] = None
    for row in (0, 2, 3):
        tags[row] = None
    return {
        "pixels": pixels.astype(np.uint8),
        "target.colour": LABELS["colour"].targets(colours, 32),
        "target.tags": LABELS["tags"].targets(tags, 32),
    }


def dense_experiment(without: tuple[str, ...] = (), backbone: str = "test_resnet", **finetune: Any) -> Experiment:
    """Return a fine-tuning of all kinds of heads at once, or of those that are left."""
    things = {"anchors": {"sizes": [16, 24, 32, 48], "ratios": [0.5, 1.0, 2.0]}, "proposals": 32, "width": 64}
    values: dict[str, Any] = {
        "name": "dense",
        "data": {"source": {"type": "boards"}, "image": {"size": DENSE}, "augment": {"least_box": 0.3}},
        "tasks": {
            "colour": {"type": "classification"},
            "one": {"type": "detection", "detector": "fcos"},
            "two": {"type": "detection", "detector": "faster_rcnn", **things},
            "paint": {"type": "segmentation", "channels": 8},
        },
        "model": {"backbone": backbone, "weights": {"source": "none"}, "dropout": 0.0, "pyramid": 16},
        "finetune": {"phases": [{**phase, "epochs": 1} for phase in PHASES[:2]], **finetune},
    }
    for task in without:
        del values["tasks"][task]
    return config.parse(values, "test")


def dense_images() -> dict[str, NDArray[Any]]:
    """Return sixteen images of bright rectangles: no image of the first batch has a box, none of the second a mask."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 90, (16, 3, DENSE, DENSE)).astype(np.uint8)
    boxes: list[Any] = []
    masks: list[Any] = []
    for row, image in enumerate(pixels):
        left, top = random.integers(2, 30, 2)
        wide, high = random.integers(14, 30, 2)
        image[row % 3, top : top + high, left : left + wide] = 250
        mask = np.zeros((DENSE, DENSE), dtype=np.uint8)
        mask[top : top + high, left : left + wide] = 1
        edges = np.array([[left, top, left + wide, top + high]] * (row >= BATCH), dtype=np.float32)
        boxes.append(Boxes(edges.reshape(-1, 4), np.array([row % 2] * len(edges), dtype=np.int64)))
        masks.append(mask if row < BATCH else None)
    boxes[9] = boxes[2] = None
    return {
        "pixels": pixels,
        "target.colour": LABELS["colour"].targets([row % 3 for row in range(16)], DENSE),
        "target.one": ALL_LABELS["one"].targets(boxes, DENSE),
        "target.two": ALL_LABELS["two"].targets(boxes, DENSE),
        "target.paint": ALL_LABELS["paint"].targets(masks, DENSE),
    }


@dataclass
class Run:
    """Everything that `loop.fit` is given, for one worker."""

    experiment: Experiment
    trained: Bundle
    plan: FinetunePlan
    on: Device
    state: State
    images: dict[str, NDArray[Any]]

    @classmethod
    def new(
        cls,
        chosen: Experiment,
        worker: int = 0,
        workers: int = 1,
        device: str = "cpu",
        autocast: torch.dtype | None = None,
    ) -> "Run":
        torch.manual_seed(0)
        trained = bundle.create(chosen, {task: ALL_LABELS[task] for task in chosen.tasks})
        trained.model.to(device)
        plan = FinetunePlan.of(chosen, [group.name for group in trained.model.groups], EPOCH_STEPS)
        on = Device(torch.device(device), autocast, worker, workers)
        state = checkpoint.fresh(trained, plan, chosen.finetune, scaled=autocast == torch.float16)
        return cls(chosen, trained, plan, on, state, dense_images() if "paint" in chosen.tasks else images())

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            first = step % EPOCH_STEPS * BATCH
            yield {
                name: values[first : first + BATCH][self.on.worker :: self.on.workers]
                for name, values in self.images.items()
            }

    def validate(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        served = self.state.served(self.trained.model)
        return loop.evaluate(served, self.trained.tasks, self.batches(0, EPOCH_STEPS), self.on)

    def fit(self, **more: Any) -> Iterator[loop.Progress]:
        chosen = {"batches": self.batches, "validate": self.validate, "on": self.on, "seed": 1, **more}
        model, tasks = self.trained.model, self.trained.tasks
        return loop.fit(model, tasks, self.plan, self.experiment.finetune, self.state, **chosen)
