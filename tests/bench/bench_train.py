"""Training speed: Thaw on Ray against a hand-written fp32 PyTorch loop, on the same images, model and cores.

    python tests/bench/bench_train.py [--rounds 3] [--device cpu|gpu]

Both see the same encoded images through the same decoder, augmentation and preprocessing, open the same layers and
take the same steps; the loop decodes in a torch DataLoader with as many worker processes as there are cores, and
computes in fp32 with PyTorch's defaults. They take turns, and all of the time spent in training epochs counts, the
start of either's pipeline included: what is decoded ahead in one epoch is paid for there. Images come from
``THAW_DATA``/grocery where it is set, else they are generated. The last line of stdout is one JSON object of ratios:
the medians over the rounds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from thaw import bundle, on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.feed import Feed
from thaw.storage import open_root
from thaw.training import on_ray as training
from thaw.training import run

IMAGES, EPOCHS = 640, 2
CORES = os.cpu_count() or 1


def experiment(root: str, device: str) -> Experiment:
    """Every layer open from the first step, at 224 px."""
    source: dict[str, Any] = {"type": "boards", "images": int(IMAGES / 0.8), "size": 256}
    tasks: dict[str, Any] = {"verdict": {"type": "classification"}, "layout": {"type": "classification"}}
    if os.environ.get("THAW_DATA"):
        source = {"type": "table", "path": f"{os.environ['THAW_DATA']}/grocery/train.csv", "split_column": "none"}
        source["path"] = str(_some_rows(Path(os.environ["THAW_DATA"]) / "grocery", Path(root)))
        tasks = {"product": {"type": "classification"}, "category": {"type": "classification"}}
    return load.parse(
        {
            "name": "bench",
            "data": {"source": source, "split": {"given": False, "val": 0.1, "test": 0.1}, "shard_images": 64},
            "tasks": tasks,
            "model": {"weights": {"source": "package"}},
            "finetune": {"phases": [{"epochs": EPOCHS, "depth": "all"}], "early_stopping": {"patience": None}},
            "train": {"batch": 32, "device": device},
            "storage": {"root": root},
        },
        "bench",
    )


def _some_rows(grocery: Path, root: Path) -> Path:
    """Return a table of the first images of the training set, spread over its classes, beside links to them."""
    lines = (grocery / "train.csv").read_text().splitlines()
    stride = max(1, len(lines) // int(IMAGES / 0.8))
    table = root / "images" / "some.csv"
    table.parent.mkdir(parents=True)
    (table.parent / "train").symlink_to(grocery / "train")
    table.write_text("\n".join([lines[0], *lines[1::stride]]) + "\n")
    return table


class Images(Dataset[Any]):
    """The training images by place, as a hand-written loop would read them."""

    def __init__(self, feed: Feed, shards: list[pa.Table]) -> None:
        self.feed, self.shards, self.epoch = feed, shards, 0

    def __len__(self) -> int:
        return self.feed.images

    def __getitem__(self, place: int) -> dict[str, Any]:
        one = replace(self.feed, batch=1)
        return {name: value[0] for name, value in one.load(place, self.shards.__getitem__).items()}


def hand_written(chosen: Experiment, feed: Feed, shards: list[pa.Table], labels: Any) -> float:
    """Train as most scripts do and return images per second."""
    torch.set_num_threads(CORES)
    made, device = bundle.create(chosen, labels), "cuda" if chosen.train.device == "gpu" else "cpu"
    made.model.to(device)
    made.model.open_groups(len(made.model.groups))
    made.model.train()
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=1e-3)
    loader = DataLoader(
        Images(feed, shards),
        feed.batch,
        shuffle=True,
        drop_last=True,
        num_workers=CORES,
        persistent_workers=True,
        pin_memory=device == "cuda",
    )
    started, images = time.perf_counter(), 0
    for _ in range(EPOCHS):
        for loaded in loader:
            batch = {name: values.to(device, non_blocking=True) for name, values in loaded.items()}
            outputs = made.model(batch["pixels"])
            loss = sum(torch.nn.functional.cross_entropy(outputs[task], batch[f"target.{task}"]) for task in made.tasks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images += len(batch["pixels"])
    return images / (time.perf_counter() - started)


def thaw(chosen: Experiment, prepared: dataset.Dataset, precision: str) -> float:
    """Train with Thaw and return images per second of its epochs, which all have as many images."""
    options = chosen.train.model_copy(update={"precision": precision})
    run = training.train(chosen.model_copy(update={"train": options}), prepared)
    lines = open_root(chosen.storage.root).read_bytes(f"runs/{run.id}/metrics.csv").decode().splitlines()
    epochs = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    return statistics.harmonic_mean([float(epoch["speed/images_per_s"]) for epoch in epochs])


def main() -> None:
    """Let the three take turns and print the median of their ratios."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as root, on_ray.cluster(cpus=CORES):
        chosen = experiment(root, options.device)
        prepared = data.prepare(chosen)
        feed = run.feed_of(chosen, prepared, "train")
        shards = [
            dataset.read_shard(open_root(root), f"{prepared.path}/{one.file}") for one in prepared.splits["train"]
        ]
        ratios: dict[str, list[float]] = {"bf16_vs_loop": [], "fp32_vs_loop": []}
        for turn in range(options.rounds):
            loop = hand_written(chosen, feed, shards, prepared.labels)
            fp32, bf16 = thaw(chosen, prepared, "fp32"), thaw(chosen, prepared, "bf16")
            ratios["fp32_vs_loop"].append(fp32 / loop)
            ratios["bf16_vs_loop"].append(bf16 / loop)
            print(f"turn {turn}: loop {loop:.1f}, thaw fp32 {fp32:.1f}, bf16 {bf16:.1f} images/s", file=sys.stderr)
    print(json.dumps({name: round(statistics.median(values), 3) for name, values in ratios.items()}))


if __name__ == "__main__":
    main()
