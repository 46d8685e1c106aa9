"""What exports cost and what they lose: metric, size, latency and throughput of every kind, in one run.

    THAW_DATA=... python tests/bench/bench_export.py [--models lite0 lite0_three resnet50] [--size 192] [--epochs 3]
        [--recover 2] [--images 180] [--threads 2]

Each network is trained for some epochs on `steel`: Lite0 from ImageNet's weights, with one head and with three, and a
ResNet-50 from random ones, for want of a download, whose metric therefore says nothing of ResNet-50. Then the same
validation images are answered by PyTorch in fp32, PyTorch in bf16, ONNX Runtime and OpenVINO in fp32 and in 8 bits, and
ONNX Runtime without 30 % and 50 % of the channels, after some epochs of learning again. Last, three exports are broken
on purpose, of a Lite0 trained on the colour photographs of `pets`, and shown to the gate. Lines with figures go to
stderr; the last line of stdout is one JSON object:

    int8_vs_fp32        images/s of ONNX Runtime in 8 bits by those of PyTorch in fp32, both at their better batch
    int8_vs_onnx        by those of ONNX Runtime in fp32
    int8_points_lost    largest fall of a task's metric, in points
    planted_caught      how many of the three broken exports the gate refused
"""

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thaw import bundle, on_ray
from thaw.backends import artifact as backends
from thaw.backends.artifact import Settings
from thaw.backends.network import Network
from thaw.bundle import Bundle
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.export import gate, measure, prune, recover
from thaw.export.gate import Tolerance, Verdict
from thaw.export.making import Making
from thaw.export.validation import Validation
from thaw.predictor import Backend
from thaw.storage import open_root

TASKS: dict[str, dict[str, Any]] = {
    "defect": {"type": "classification"},
    "defects": {"type": "detection", "classes": ["inclusion", "patches", "scratches"]},
    "mask": {"type": "segmentation"},
}
MODELS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "lite0": ("tf_efficientnet_lite0", "package", ("defect",)),
    "lite0_three": ("tf_efficientnet_lite0", "package", tuple(TASKS)),
    "resnet50": ("resnet50", "none", ("defect",)),
}
ANYTHING = Tolerance(drop=1, flips=1)


@dataclass(frozen=True)
class Half:
    """A bundle that computes in bf16 where PyTorch's autocast does."""

    of: Bundle

    @property
    def description(self) -> bundle.Description:
        return self.of.description

    @property
    def tasks(self) -> Mapping[str, Any]:
        return self.of.tasks

    def readouts(self, pixels: Tensor) -> dict[str, dict[str, Tensor]]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.of.readouts(pixels)


@dataclass(frozen=True)
class Bench:
    """One trained network and what it is compared on."""

    parent: Bundle
    experiment: Experiment
    prepared: Dataset
    validation: Validation
    place: Path

    def made(self, settings: Settings, of: Bundle | None = None) -> tuple[Backend, int, Settings]:
        """Return an artifact, its bytes, and the settings with what was decided on the way."""
        place = self.place / f"{settings.to}-{settings.precision}-{settings.prune}"
        place.mkdir()
        making = Making(self.parent, Network(of or self.parent), self.validation, Tolerance(), place)
        decided = making.write(settings)
        network = backends.opened(making.folder, settings.to, self.parent.description)
        return network, sum(file.stat().st_size for file in making.folder.iterdir()), decided

    def row(self, name: str, network: Backend, size: int, **more: Any) -> dict[str, Any]:
        """Return an artifact's figures, and tell them."""
        verdict = gate.judge(self.parent, network, self.validation.batches(), ANYTHING)
        cost = measure.measure(network)
        row = {
            "metrics": {task: one.artifact for task, one in verdict.tasks.items()},
            "points_lost": {task: round(100 * one.drop, 3) for task, one in verdict.tasks.items()},
            "flips": {task: round(one.flips, 5) for task, one in verdict.tasks.items()},
            "megabytes": round(size / 1e6, 2),
            "ms": {batch: round(ms, 2) for batch, ms in cost.p50_ms.items()},
            "p95_ms": {batch: round(ms, 2) for batch, ms in cost.p95_ms.items()},
            "images_per_s": round(cost.images_per_s, 1),
            "running": round(cost.running, 2),
            **more,
        }
        print(json.dumps({"model": name, **row}), file=sys.stderr, flush=True)
        return row


def experiment(
    name: str, size: int, root: Path, folder: str, tasks: dict[str, Any], model: dict[str, Any]
) -> Experiment:
    """Return a short fine-tuning."""
    flips = {"vflip": 0.5, "rotate": 0, "saturation": 0} if folder == "steel" else {}
    source: dict[str, Any] = {"type": "table", "path": str(Path(os.environ["THAW_DATA"]) / folder)}
    if folder == "steel":
        source["mask_values"] = {0: "background", 1: "inclusion", 2: "patches", 3: "scratches"}
    rates = {"head": 2e-3, "backbone": 1e-3}
    values = {
        "name": name,
        "data": {
            "source": source,
            "image": {"size": size, "fit": "stretch"},
            "augment": {"zoom": [0.9, 1.2], **flips},
        },
        "tasks": tasks,
        "model": {"pyramid": 64, **model},
        "finetune": {"phases": [{"epochs": 1, "depth": "all", "rates": rates}], "early_stopping": {"patience": None}},
        "train": {"batch": 16, "device": "cpu"},
        "storage": {"root": str(root)},
    }
    return load.parse(values, name)


def trained(chosen: Experiment, epochs: int, images: int, place: Path) -> Bench:
    """Prepare the data, train, and return what is to be compared."""
    with on_ray.cluster():
        prepared = data.prepare(chosen)
    root = open_root(chosen.storage.root)
    made = recover.recover(bundle.create(chosen, prepared.labels), chosen, root, prepared, epochs)
    place.mkdir()
    return Bench(made, chosen, prepared, Validation(root, prepared, chosen.data.limits, images), place)


def rows(bench: Bench, recover_epochs: int) -> dict[str, dict[str, Any]]:
    """Return the figures of every kind of export of one network."""
    size = sum(one.numel() * one.element_size() for one in bench.parent.model.state_dict().values())
    found = {"torch fp32": bench.row("torch fp32", bench.parent, size)}
    found["torch bf16"] = bench.row("torch bf16", Half(bench.parent), size)
    for to in ("onnx", "openvino"):
        for precision in ("fp32", "int8"):
            settings = Settings.model_validate({"to": to, "precision": precision})
            network, size, decided = bench.made(settings)
            name = f"{to} {precision}"
            found[name] = bench.row(name, network, size, calibration=decided.calibration)
    for share in (0.3, 0.5):
        pruned = prune.without_channels(bench.parent, share)
        root = open_root(bench.experiment.storage.root)
        pruned = recover.recover(pruned, bench.experiment, root, bench.prepared, recover_epochs)
        network, size, _ = bench.made(Settings(to="onnx", prune=share, epochs=recover_epochs), pruned)
        name = f"onnx fp32, {share:.0%} pruned"
        weights = [prune.parameters(one.model) for one in (bench.parent, pruned)]
        found[name] = bench.row(name, network, size, weights=weights[1], parent_weights=weights[0])
    return found


def _swap_channels(model: Any) -> None:
    first = next(weight for weight in model.backbone.parameters() if weight.shape[1:2] == (3,))
    first.copy_(first.flip(1))


def _swap_classes(model: Any) -> None:
    linear = model.heads["breed"][1]
    linear.weight.copy_(linear.weight.roll(1, 0))
    linear.bias.copy_(linear.bias.roll(1, 0))


def _normalise_wrongly(model: Any) -> None:
    model.mean.zero_()
    model.std.fill_(255.0)


PLANTED: dict[str, Callable[[Any], None]] = {
    "channel order": _swap_channels,
    "classes": _swap_classes,
    "normalisation": _normalise_wrongly,
}


def planted(bench: Bench) -> dict[str, Verdict]:
    """Return what the gate makes of exports that are broken on purpose, at the tolerance that users have."""
    found = {}
    for name, breaks in PLANTED.items():
        broken = replace(bench.parent, model=copy.deepcopy(bench.parent.model))
        with torch.no_grad():
            breaks(broken.model)
        place = bench.place / name.replace(" ", "-")
        place.mkdir()
        making = Making(bench.parent, Network(broken), bench.validation, Tolerance(), place)
        making.write(Settings(to="onnx"))
        network = backends.opened(making.folder, "onnx", bench.parent.description)
        found[name] = gate.judge(bench.parent, network, bench.validation.batches(), Tolerance())
        print(json.dumps({"planted": name, "reasons": found[name].reasons}), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--recover", type=int, default=2)
    parser.add_argument("--images", type=int, default=180)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started, found = time.time(), {}
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as folder:
        root = Path(folder)
        for name in options.models:
            backbone, source, tasks = MODELS[name]
            model = {"backbone": backbone, "weights": {"source": source}}
            chosen = experiment(
                name, options.size, root / "store", "steel", {task: TASKS[task] for task in tasks}, model
            )
            found[name] = rows(trained(chosen, options.epochs, options.images, root / name), options.recover)
        model = {"backbone": "tf_efficientnet_lite0", "weights": {"source": "package"}}
        breed = {"breed": {"type": "classification"}}
        pets = experiment("pets", min(options.size, 128), root / "store", "pets", breed, model)
        verdicts = planted(trained(pets, 1, options.images, root / "pets"))
    print(json.dumps({**summary(found, verdicts), "minutes": round((time.time() - started) / 60, 1)}))


def summary(found: dict[str, dict[str, Any]], verdicts: dict[str, Verdict]) -> dict[str, Any]:
    """Return all figures, and those that are aimed at by network."""
    rate = {name: {kind: row["images_per_s"] for kind, row in kinds.items()} for name, kinds in found.items()}
    return {
        "machine": measure.machine(),
        "load": os.getloadavg(),
        "int8_vs_fp32": {name: round(one["onnx int8"] / one["torch fp32"], 2) for name, one in rate.items()},
        "int8_vs_onnx": {name: round(one["onnx int8"] / one["onnx fp32"], 2) for name, one in rate.items()},
        "int8_points_lost": {name: max(kinds["onnx int8"]["points_lost"].values()) for name, kinds in found.items()},
        "planted_caught": sum(not one.passed for one in verdicts.values()),
        "models": found,
    }


if __name__ == "__main__":
    main()
