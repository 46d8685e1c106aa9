"""Trainings with a fault planted in them: real ones, of a network of a few layers on coloured noise."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thaw import bundle
from thaw.config import load as config
from thaw.data.labels import LabelSchema
from thaw.training import checkpoint, loop
from thaw.training.diagnosis import Subject
from thaw.training.loop import Batch, Device, Epoch
from thaw.training.plan import FinetunePlan

NAMES = ("blue", "green", "grey", "red")
BATCH = 16
TASK = "colour"


def images(seed: int, count: int, flipped: float = 0.0, shade: int = 45) -> dict[str, NDArray[Any]]:
    """Return images whose channel of more light is their class; a share of the labels is another class, drawn evenly.

    Args:
        shade: by how much the channel is lighter than the noise, which differs from image to image by about as much.
    """
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % len(NAMES)
    pixels = random.integers(0, 120, (count, 3, 32, 32)) + random.integers(0, 60, (count, 3, 1, 1))
    for row, kind in enumerate(kinds):
        if NAMES[kind] != "grey":
            pixels[row, {"red": 0, "green": 1, "blue": 2}[NAMES[kind]]] += shade
    wrong = random.random(count) < flipped
    labels = np.where(wrong, (kinds + random.integers(1, len(NAMES), count)) % len(NAMES), kinds)
    order = random.permutation(count)
    return {"pixels": pixels[order].astype(np.uint8), f"target.{TASK}": labels[order].astype(np.int64)}


def history(
    own: dict[str, NDArray[Any]], new: dict[str, NDArray[Any]], phases: list[dict[str, Any]], **finetune: Any
) -> list[Epoch]:
    """Train on images, validate on new ones and return every epoch."""
    torch.set_num_threads(1)
    values = {
        "name": "planted",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {TASK: {"type": "classification"}},
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}, "dropout": 0.0},
        "finetune": {"phases": phases, "early_stopping": {"patience": None}, **finetune},
    }
    chosen = config.parse(values, "test")
    trained = bundle.create(chosen, {TASK: LabelSchema(kind="class", names=NAMES)})
    steps = len(own["pixels"]) // BATCH
    plan = FinetunePlan.of(chosen, [group.name for group in trained.model.groups], steps)
    on = Device(torch.device("cpu"), None)

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            order = np.random.default_rng(step // steps).permutation(len(own["pixels"]))
            rows = order[step % steps * BATCH :][:BATCH]
            yield {name: value[rows] for name, value in own.items()}

    def measured(what: dict[str, NDArray[Any]]) -> loop.Measured:
        return loop.evaluate(trained.model, trained.tasks, [what], on)

    state = checkpoint.fresh(trained, plan, chosen.finetune)
    progress = loop.fit(
        trained.model,
        trained.tasks,
        plan,
        chosen.finetune,
        state,
        batches,
        lambda: measured(new),
        on,
        1,
        excerpt=lambda: measured(own),
    )
    return [one.epoch for one in progress]


def subjects(own: int, new: int) -> dict[str, Subject]:
    return {TASK: Subject("accuracy", new, own, 1 / len(NAMES))}
