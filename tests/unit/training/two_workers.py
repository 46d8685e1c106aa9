"""What two worker processes do for test_workers.py; run by it as ``python two_workers.py FOLDER``.

One process that forks into two, because each costs seconds of imports.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_run import PHASES, Run, dense_experiment, experiment
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from thaw.backbones import weights
from thaw.metrics.boxes import BoxMeter, ImageBoxes
from thaw.metrics.classes import ClassMeter, LabelSetMeter
from thaw.metrics.masks import IGNORED, MaskMeter
from thaw.model import FinetuneModel
from thaw.training import workers

WORKERS = 2
NAMES = ("a", "b", "c")
PLACES_ALONE: dict[str, Any] = {"without": ("colour",), "backbone": "test_efficientnet"}
"""No head reads the pooled vector, so some layers of this backbone have no gradient."""
DENSE_FINETUNE = {"weighting": {"by": "gradnorm"}, "optimizer": {"name": "sgd", "momentum": 0.5}}
"""Under adamw, rounding in the order of sums grows: its steps are as large for the smallest gradients."""

RECIPES = {
    "head_only": [0, 0, 0],
    "gradual": [0, 1, 2],
    "full": [5, 5, 5],
    "layer_decay": [5, 5, 5],
    "lora": [0, 5, 5],
}
"""Recipe -> how many of the network's groups it opens in each epoch."""
BASE = "base.safetensors"
"""The file of the weights that every recipe begins with, in the folder."""


class WrapOnce:
    """The mistake that costs silently: weights that open later are never averaged."""

    def __init__(self) -> None:
        self.wrapped: nn.Module | None = None

    def __call__(self, model: FinetuneModel) -> nn.Module:
        self.wrapped = self.wrapped or _wrap(model)
        return self.wrapped


def _wrap(model: FinetuneModel) -> nn.Module:
    return DistributedDataParallel(model, **workers.ddp_options(model))


def told(run: Run, **more: Any) -> list[dict[str, Any]]:
    """Return losses, metrics and a digest of the weights after every epoch."""
    return [
        {
            "train": progress.epoch.train_loss,
            "val": progress.epoch.val_loss,
            "metrics": progress.epoch.metrics,
            "phase": progress.epoch.phase,
            "depth": progress.epoch.depth,
            "digest": weights.digest(run.trained.model.state_dict()),
            "served": weights.digest(run.state.served(run.trained.model).state_dict()),
        }
        for progress in run.fit(**more)
    ]


def by_recipe(name: str, folder: Path, worker: int = 0, workers: int = 1) -> Run:
    """Return a run by a recipe, from the weights in the folder."""
    weights = {"source": "path", "path": str(folder / BASE)}
    recipe = {"name": name, "epochs": len(RECIPES[name])}
    return Run.new(experiment(weights=weights, recipe=recipe), worker, workers)


def _in_pieces(worker: int, workers: int) -> Run:
    """Return a run that averages its weights and computes each worker's share of a batch in two pieces."""
    run = Run.new(experiment(phases=PHASES[1:2], ema={"decay": 0.9}), worker, workers)
    run.on = replace(run.on, pieces=2)
    return run


def _refusal(run: Run, **more: Any) -> dict[str, Any]:
    """Return how far a run came, and the error that ended it."""
    try:
        told(run, **more)
    except RuntimeError as error:
        return {"error": str(error), "phases": [epoch.phase for epoch in run.state.history]}
    return {"error": "", "phases": [epoch.phase for epoch in run.state.history]}


def metrics(worker: int, workers: int) -> dict[str, dict[str, float]]:
    """Return joined metrics of 50 images of which the second worker has labels for few."""
    random = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(50, 3, generator=random), torch.randint(0, 3, (50,), generator=random)
    hot = torch.randint(0, 2, (50, 3), generator=random)
    targets[1:40:2] = -1
    hot[1::2] = -1
    kinds, sets = ClassMeter(NAMES), LabelSetMeter(NAMES)
    mine = scores[worker::workers]
    kinds.add(mine, targets[worker::workers], mine.argmax(dim=1))
    sets.add(mine, hot[worker::workers], (mine >= 0.5).long())
    boxes, masks = _of_places(worker, workers)
    return {
        "kinds": kinds.compute(),
        "sets": sets.compute(),
        "confusion": {"rows": kinds.confusion()},
        "boxes": boxes.compute(),
        "masks": masks.compute(),
        "pixels": {"rows": masks.confusion()},
    }


def _of_places(worker: int, workers: int) -> tuple[BoxMeter, MaskMeter]:
    """Return metrics of boxes and masks of one worker's share of 7 images; the last ones have no box, or no label."""
    random = np.random.default_rng(0)
    boxes, masks = BoxMeter(NAMES, [0.5] * len(NAMES), 10), MaskMeter(NAMES)
    for place in range(7):
        corners = random.uniform(0, 40, (4, 2))
        true = np.concatenate([corners, corners + random.uniform(8, 30, (4, 2))], axis=1)[: 0 if place > 4 else 4]
        labels = random.integers(0, 3, 4)[: len(true)]
        near = true + random.uniform(-4, 4, true.shape)
        painted = random.integers(0, 3, (2, 6, 8)).astype(np.uint8)
        painted[1][random.random((6, 8)) < (1 if place > 5 else 0.3)] = IGNORED
        scores = random.random(len(true))
        if place % workers == worker:
            boxes.add(ImageBoxes(near, labels, scores), ImageBoxes(true, labels, np.ones(len(true))))
            masks.add(painted[0], painted[1])
    return boxes, masks


def _work(worker: int, folder: str) -> None:
    """Do as one worker all that needs two, and write down what it came to."""
    torch.set_num_threads(1)
    place = f"file://{folder}/meet"
    distributed.init_process_group("gloo", init_method=place, rank=worker, world_size=WORKERS)
    found = {
        "metrics": metrics(worker, WORKERS),
        "right": told(Run.new(experiment(), worker, WORKERS), wrap=_wrap),
        "dense": told(Run.new(dense_experiment(**DENSE_FINETUNE), worker, WORKERS), wrap=_wrap),
        "places alone": told(Run.new(dense_experiment(**PLACES_ALONE), worker, WORKERS), wrap=_wrap),
        "in pieces": told(_in_pieces(worker, WORKERS), wrap=_wrap),
        "recipes": {name: told(by_recipe(name, Path(folder), worker, WORKERS), wrap=_wrap) for name in RECIPES},
        "wrapped once": _refusal(Run.new(experiment(), worker, WORKERS), wrap=WrapOnce()),
    }
    Path(folder, f"{worker}.json").write_text(json.dumps(found), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.start_processes(_work, (sys.argv[1],), nprocs=WORKERS, start_method="fork")
