"""A whole fine-tuning that takes a second: a tiny network, two heads, sixteen coloured images, no cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thaw import bundle
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data.labels import LabelSchema
from thaw.training import checkpoint, loop
from thaw.training.loop import Batch, Device, State
from thaw.training.plan import FinetunePlan

LABELS = {
    "colour": LabelSchema(kind="class", names=("blue", "green", "red")),
    "tags": LabelSchema(kind="classes", names=("bright", "warm")),
}
BATCH = 8
EPOCH_STEPS = 2
RATES = {"head": 0.02, "backbone": 0.005}
PHASES = (
    {"epochs": 2, "depth": 0, "rates": RATES},
    {"epochs": 2, "depth": 2, "rates": RATES},
    {"epochs": 1, "depth": "all", "rates": RATES},
)


def experiment(dropout: float = 0.0, phases: Any = PHASES, **finetune: Any) -> Experiment:
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {"colour": {"type": "classification"}, "tags": {"type": "multilabel", "weight": 0.5}},
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}, "dropout": dropout},
        "finetune": {"phases": list(phases), **finetune},
    }
    return config.parse(values, "test")


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
        "target.colour": LABELS["colour"].targets(colours),
        "target.tags": LABELS["tags"].targets(tags),
    }


@dataclass
class Run:
    """Everything that `loop.fit` is given, for one worker."""

    experiment: Experiment
    trained: Bundle
    plan: FinetunePlan
    on: Device
    state: State

    @classmethod
    def new(cls, chosen: Experiment, worker: int = 0, workers: int = 1) -> "Run":
        torch.manual_seed(0)
        trained = bundle.create(chosen, LABELS)
        plan = FinetunePlan.of(chosen, [group.name for group in trained.model.groups], EPOCH_STEPS)
        on = Device(torch.device("cpu"), None, worker, workers)
        return cls(chosen, trained, plan, on, checkpoint.fresh(trained, plan, chosen.finetune))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            first = step % EPOCH_STEPS * BATCH
            yield {
                name: values[first : first + BATCH][self.on.worker :: self.on.workers]
                for name, values in images().items()
            }

    def validate(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        return loop.evaluate(self.trained.model, self.trained.tasks, self.batches(0, EPOCH_STEPS), self.on)

    def fit(self, **more: Any) -> Iterator[loop.Progress]:
        chosen = {"batches": self.batches, "validate": self.validate, "on": self.on, "seed": 1, **more}
        model, tasks = self.trained.model, self.trained.tasks
        return loop.fit(model, tasks, self.plan, self.experiment.finetune, self.state, **chosen)
