"""The frozen-prefix cache: training images per second with it and without, in the same run.

    python tests/bench/bench_head.py [NAME ...]

For each network and depth, one phase is trained with ``train.cache.use: always`` and one with ``never``, on the same
images with the same two views. ``cached_vs_uncached`` compares the medians of the epochs but the first, in which the
cache is filled; ``whole_phase`` compares all of the phase. Names, all by default: ``head`` is Lite0 with its heads
alone; ``cnn`` Lite0 at depths 1 to 3; ``vit`` a ViT-Tiny of random weights at depths 1 and 3. Images come from
``THAW_DATA``/grocery where it is set, else they are generated. The last line of stdout is one JSON object.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from thaw import bundle, on_ray
from thaw.config import load
from thaw.config.experiment import Experiment, Weights
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.storage import open_root
from thaw.training import on_ray as training
from thaw.training import precision

IMAGES, EPOCHS, VIEWS = 320, 4, 2
NETWORKS = {"lite0": ("tf_efficientnet_lite0", "package"), "vit": ("vit_tiny_patch16_224", "none")}
CASES = {
    "head": [("lite0", 0)],
    "cnn": [("lite0", depth) for depth in (1, 2, 3)],
    "vit": [("vit", depth) for depth in (1, 3)],
}


def experiment(root: str) -> Experiment:
    """Images at 224 px with labels of classes."""
    source: dict[str, Any] = {"type": "boards", "images": int(IMAGES / 0.8), "size": 256}
    tasks: dict[str, Any] = {"verdict": {"type": "classification"}, "layout": {"type": "classification"}}
    if os.environ.get("THAW_DATA"):
        source = {"type": "table", "path": str(_some_rows(Path(os.environ["THAW_DATA"]) / "grocery", Path(root)))}
        tasks = {"category": {"type": "classification"}}
    return load.parse(
        {
            "name": "bench",
            "data": {"source": source, "split": {"given": False, "val": 0.1, "test": 0.1}, "shard_images": 64},
            "tasks": tasks,
            "finetune": {"phases": [{"epochs": EPOCHS}], "early_stopping": {"patience": None}},
            "train": {"batch": 32, "device": "cpu"},
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


def of_network(chosen: Experiment, name: str) -> Experiment:
    """Return the experiment with another network."""
    backbone, source = NETWORKS[name]
    model = chosen.model.model_copy(
        update={"backbone": backbone, "weights": Weights.model_validate({"source": source})}
    )
    return chosen.model_copy(update={"model": model})


def bytes_kept(chosen: Experiment, prepared: Dataset, name: str, depth: int) -> int:
    """Return the bytes of what is kept of an image and view, without its labels, at this machine's precision."""
    model = bundle.create(of_network(chosen, name), prepared.labels).model
    model.open_groups(depth)
    size = chosen.data.image.size
    model.split(size)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision.best("cpu") == "bf16"):
        cut = model.cut(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    return sum(tensor.nbytes for tensor in cut.values())


def speeds(chosen: Experiment, prepared: Dataset, name: str, depth: int, use: str) -> list[float]:
    """Train one phase and return the images per second of its epochs."""
    values = of_network(chosen, name).model_dump(mode="json")
    values["finetune"]["phases"] = [{"epochs": EPOCHS, "depth": depth, "views": VIEWS}]
    values["train"]["cache"] = {"use": use}
    run = training.train(load.parse(values, "bench"), prepared)
    lines = open_root(chosen.storage.root).read_bytes(f"runs/{run.id}/metrics.csv").decode().splitlines()
    epochs = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    return [float(epoch["speed/images_per_s"]) for epoch in epochs]


def compared(chosen: Experiment, prepared: Dataset, name: str, depth: int) -> dict[str, float]:
    """Return the speeds of a phase with the cache and without."""
    cached, plain = (speeds(chosen, prepared, name, depth, use) for use in ("always", "never"))
    fast, slow = statistics.median(cached[1:]), statistics.median(plain[1:])
    whole = statistics.harmonic_mean(cached) / statistics.harmonic_mean(plain)
    print(f"{name} depth {depth}: {slow:.1f} -> {fast:.1f} images/s; epochs {cached} {plain}", file=sys.stderr)
    return {
        "cached_vs_uncached": round(fast / slow, 2),
        "whole_phase": round(whole, 2),
        "images_per_s": round(fast, 1),
        "bytes": bytes_kept(chosen, prepared, name, depth),
    }


def main() -> None:
    """Compare what is asked for and print the ratios."""
    cases = [case for name in sys.argv[1:] or list(CASES) for case in CASES[name]]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as root, on_ray.cluster(cpus=os.cpu_count() or 1):
        chosen = experiment(root)
        prepared = data.prepare(chosen)
        for name, depth in cases:
            found[f"{name}_depth{depth}"] = compared(chosen, prepared, name, depth)
    if "lite0_depth0" in found:
        found["cached_vs_uncached"] = found["lite0_depth0"]["cached_vs_uncached"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
