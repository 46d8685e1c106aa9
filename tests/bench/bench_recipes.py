"""What the ways of fine-tuning come to on real images: test accuracy, mean and spread over seeds, and minutes.

    THAW_DATA=... python tests/bench/bench_recipes.py [--sets steel pets grocery] [--shares 1.0 0.1] [--seeds 0 1 2]
        [--recipes head_only full layer_decay gradual scratch] [--size 96] [--network lite0|vit] [--out results.jsonl]

Every way sees the same images, augmentation and number of epochs: 12 with all labels of the training set, and more
with fewer of them, so that steps do not shrink as fast as labels do. Rates are the recipes' own; `scratch` is `full`
from random weights at a rate of 1e-3. The network `vit` is a ViT-S/16 that is first trained on the products of
`grocery`, for want of downloaded weights; it adds the recipe `lora`. The model is scored after its last epoch: nothing
is chosen on validation. Lines with figures go to stderr; the last line of stdout is one JSON object.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch

from thaw import bundle, on_ray
from thaw.backbones import timm_models
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import dataset, here
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.storage import open_root
from thaw.training import loop, run, session
from thaw.training.session import Seat, Setup
from thaw.training.state import Epoch
from thaw.training.work.on_ray import SWITCH_S

SETS = {"steel": "defect", "pets": "breed", "grocery": "product"}
EPOCHS = {1.0: 12, 0.5: 16, 0.25: 20, 0.1: 24}
NETWORKS = {"lite0": "tf_efficientnet_lite0", "vit": "vit_small_patch16_224"}
PRETRAINED_EPOCHS = 8
VAL = 32
"""Validation images that are kept where a data set has its own: nothing is chosen by them, and they cost time."""
Report = Callable[[str, Path | None, Sequence[Epoch] | None], None]


def table(name: str, share: float, folder: Path) -> Path:
    """Write a table of a data set in which the training images keep a share of each class, beside links to all."""
    source, task = Path(os.environ["THAW_DATA"]) / name, SETS[name]
    folder.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.is_dir():
            (folder / entry.name).symlink_to(entry)
    rows = list(_rows(source))
    random, kept = np.random.default_rng(0), []
    by_class = defaultdict(list)
    for row in rows:
        by_class[row["label"]].append(row) if row["split"] == "train" else kept.append(row)
    seen = [row for row in kept if row["split"] == "val"]
    kept = [row for row in kept if row["split"] == "test"] + seen[:: max(1, len(seen) // VAL)]
    for of_class in by_class.values():
        chosen = random.permutation(len(of_class))[: max(1, round(share * len(of_class)))]
        kept += [of_class[place] for place in chosen]
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "split", task])
        writer.writerows([row["file_name"], row["split"], row["label"]] for row in kept)
    return path


def _rows(source: Path) -> Iterator[dict[str, str]]:
    task = SETS[source.name]
    if (source / "metadata.jsonl").exists():
        for line in (source / "metadata.jsonl").read_text().splitlines():
            row = json.loads(line)
            yield {"file_name": row["file_name"], "split": row["split"], "label": row[task]}
        return
    for split in ("train", "val", "test"):
        with (source / f"{split}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                yield {"file_name": row["file_name"], "split": split, "label": row[task]}


def experiment(name: str, path: Path, root: Path, size: int, network: str, weights: dict[str, Any]) -> Experiment:
    """Return the experiment that all ways share."""
    flips = {"vflip": 0.5, "rotate": 0, "saturation": 0} if name == "steel" else {}
    values = {
        "name": name,
        "data": {
            "source": {"type": "table", "path": str(path)},
            "image": {"size": size, "fit": "stretch"},
            "augment": {"zoom": [0.9, 1.3], **flips},
        },
        "tasks": {SETS[name]: {"type": "classification"}},
        "model": {"backbone": NETWORKS[network], "weights": weights},
        "finetune": {"early_stopping": {"patience": None}},
        "train": {"batch": 16 if name != "grocery" else 32, "device": "cpu"},
        "track": {"pictures": 0, "train_images": 0},
        "storage": {"root": str(root)},
    }
    return load.parse(values, name)


def of_recipe(chosen: Experiment, recipe: str, epochs: int, seed: int) -> Experiment:
    """Return the experiment with one way to fine-tune."""
    values = chosen.model_dump(mode="json")
    values["seed"] = seed
    del values["finetune"]["phases"]
    values["finetune"]["recipe"] = {"name": recipe if recipe != "scratch" else "full", "epochs": epochs}
    if recipe == "scratch":
        values["model"]["weights"] = {"source": "none"}
        values["finetune"]["recipe"]["rates"] = {"head": 1e-3}
    return load.parse(values, recipe)


def seat_here(shards: dict[str, list[pa.Table]], threads: int, report: Report) -> Seat:
    """Return the place of the only worker of a run, in this process."""
    return Seat(
        device=torch.device("cpu"),
        threads=threads,
        stream=lambda split, feed, start, stop: here.stream(feed, shards[split], start, stop),
        store=None,
        last=nullcontext,
        report=report,
        tell=lambda _line: None,
    )


def fitted(chosen: Experiment, prepared: Dataset, shards: dict[str, list[pa.Table]], threads: int) -> dict[str, Any]:
    """Train in this process and score the last model on the test images."""
    torch.manual_seed(chosen.seed)
    started, last = time.monotonic(), Path(tempfile.mkdtemp(prefix="thaw-bench-", dir=chosen.storage.root))
    newest: list[dict[str, torch.Tensor]] = []

    def report(_name: str, folder: Path | None, _history: Sequence[Epoch] | None) -> None:
        if folder:
            newest[:] = [safetensors.torch.load_file(folder / bundle.WEIGHTS)]

    seat = seat_here(shards, threads, report)
    root = open_root(chosen.storage.root)
    trained = session.train(Setup.of(chosen, prepared, root, f"runs/{last.name}"), seat)
    minutes = (time.monotonic() - started) / 60
    on = session.device_of(chosen, seat.device, threads)
    made = session.model_of(chosen, prepared, on)
    made.model.load_own_state(newest[0])
    feed = run.feed_of(chosen, prepared, "test")
    _, metrics = loop.evaluate(made.model, made.tasks, here.stream(feed, shards["test"], 0, feed.epoch_steps), on)
    [found] = metrics.values()
    return {"accuracy": found["accuracy"], "minutes": minutes, "epochs": len(trained.history)}


def pretrained_vit(root: Path, size: int, threads: int, epochs: int) -> dict[str, Any]:
    """Train a ViT from random weights on the products of grocery, and return where its weights are."""
    file = root / "vit.safetensors"
    path = table("grocery", 1.0, root / "pretraining")
    chosen = experiment("grocery", path, root, size, "vit", {"source": "none"})
    chosen = of_recipe(chosen, "scratch", epochs, seed=0)
    prepared, shards = made_ready(chosen)
    print(f"pretraining a ViT on grocery: {epochs} epochs", file=sys.stderr)
    newest: list[Path] = []

    def report(_name: str, folder: Path | None, history: Sequence[Epoch] | None) -> None:
        if folder and history:
            loaded = bundle.load(folder, "cpu")
            body = timm_models.create(NETWORKS["vit"], size).body
            body.load_state_dict(loaded.model.backbone.body.state_dict())
            safetensors.torch.save_file(body.state_dict(), file)
            newest[:] = [file]
            print(f"  epoch {history[-1].epoch}: val {history[-1].score:.3f}", file=sys.stderr)

    setup = Setup.of(chosen, prepared, open_root(str(root)), "runs/pretraining")
    session.train(setup, seat_here(shards, threads, report))
    return {"source": "path", "path": str(newest[0])}


def made_ready(chosen: Experiment) -> tuple[Dataset, dict[str, list[pa.Table]]]:
    """Prepare a data set and read its shards."""
    prepared = data.prepare(chosen)
    root = open_root(chosen.storage.root)
    return prepared, {
        split: [dataset.read_shard(root, f"{prepared.path}/{one.file}") for one in shards]
        for split, shards in prepared.splits.items()
    }


def main() -> None:
    """Train all that is asked for, and print means and spreads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--shares", nargs="+", type=float, default=list(EPOCHS))
    parser.add_argument("--recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--network", default="lite0", choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pretrained-epochs", type=int, default=PRETRAINED_EPOCHS)
    parser.add_argument("--out", type=Path, help="also append every run to this file as a JSON line")
    options = parser.parse_args()
    usual = ["head_only", "full", "layer_decay", "gradual", "scratch"]
    recipes = options.recipes or (["lora", *usual] if options.network == "vit" else usual)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as folder, on_ray.cluster():
        root, weights = Path(folder), {"source": "package"}
        if options.network == "vit":
            weights = pretrained_vit(root, options.size, options.threads, options.pretrained_epochs)
        for name in options.sets:
            for share in options.shares:
                path = table(name, share, root / f"{name}-{share}")
                chosen = experiment(name, path, root, options.size, options.network, weights)
                prepared, shards = made_ready(chosen)
                for seed in options.seeds:
                    for recipe in recipes:
                        one = of_recipe(chosen, recipe, EPOCHS[share], seed)
                        came = fitted(one, prepared, shards, options.threads)
                        key = f"{name} {share:g} {recipe}"
                        found[key].append(came)
                        told = {"key": key, "seed": seed, "train": prepared.rows("train"), **came}
                        print(json.dumps(told), file=sys.stderr, flush=True)
                        if options.out:
                            with options.out.open("a") as file:
                                file.write(json.dumps(told) + "\n")
    print(json.dumps({key: summary(runs) for key, runs in found.items()}))


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return mean and standard deviation of the accuracy over seeds, and mean minutes."""
    accuracy = [run["accuracy"] for run in runs]
    return {
        "accuracy": round(statistics.mean(accuracy), 4),
        "spread": round(statistics.stdev(accuracy), 4) if len(accuracy) > 1 else 0.0,
        "minutes": round(statistics.mean(run["minutes"] for run in runs), 2),
    }


if __name__ == "__main__":
    main()
