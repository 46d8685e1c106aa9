"""A sweep of Thaw against plain Ray Tune with ASHA around a hand-written loop: wall time to the same metric.

    THAW_DATA=... python tests/bench/bench_tune.py [trials]

Both train the same trials of the same space, in the same order, on the kinds of defects of `steel` at 160 px from the
same weights, with the same augmentation, on the same cores, two trials at a time, under the same ASHA. The loop is
written as most are: images decoded and augmented in the trial, fp32, every epoch through the whole network.
``vanilla_over_thaw`` is the time after which vanilla first has the best accuracy that it ends with, over the time
after which Thaw first has as much; both count from before Ray Tune begins, with Ray running. ``trials_per_hour`` are
of the whole sweeps. The last line of stdout is one JSON object.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch.utils.data import DataLoader, Dataset

from thaw import bundle, on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.feed import Feed
from thaw.storage import open_root
from thaw.training import run
from thaw.tuning import on_ray as tuning
from thaw.tuning.search import sampler
from thaw.tuning.study import Study

TRIALS, CONCURRENT, REDUCTION = 8, 2, 3
PHASES = [{"epochs": 2, "depth": 0}, {"epochs": 4, "depth": 3, "rates": {"head": 1e-3, "backbone": 5e-4}}]


def experiment(root: str) -> Experiment:
    """The kinds of defects of steel."""
    return load.parse(
        {
            "name": "steel",
            "data": {
                "source": {"type": "table", "path": f"{os.environ['THAW_DATA']}/steel"},
                "image": {"size": 160, "fit": "stretch"},
                "augment": {"vflip": 0.5, "rotate": 0, "saturation": 0},
            },
            "tasks": {"defect": {"type": "classification"}},
            "finetune": {"phases": PHASES, "early_stopping": {"patience": None}},
            "train": {"batch": 16, "device": "cpu"},
            "storage": {"root": root},
        },
        "bench",
    )


def study(trials: int) -> Study:
    """Depth and rates, drawn at random."""
    depth = "finetune.phases[1].depth"
    return Study.model_validate(
        {
            "name": "bench",
            "set": {"finetune.phases[0].views": 2},
            "dimensions": {
                depth: {"int": [0, "all"]},
                "finetune.phases[1].rates.head": {"log": [1e-4, 1e-2]},
                "finetune.phases[1].rates.backbone": {"log": [1e-5, 3e-3], "when": {depth: {"above": 0}}},
            },
            "search": {"by": "random", "trials": trials},
            "scheduler": {"by": "asha", "reduction": REDUCTION},
            "budget": {"concurrent": CONCURRENT},
        }
    )


class Images(Dataset[Any]):
    """Images by place, as a hand-written loop would read them."""

    def __init__(self, feed: Feed, shards: list[pa.Table]) -> None:
        self.feed, self.shards, self.epoch = feed, shards, 0

    def __len__(self) -> int:
        return self.feed.images

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        one = Feed(**{**{name: value for name, value in vars(self.feed).items() if name[0] != "_"}, "batch": 1})
        batch = one.load(place + self.epoch * len(self), self.shards.__getitem__)
        return batch["pixels"][0], batch["target.defect"][0]


def vanilla(config: dict[str, Any], chosen: dict[str, Any], prepared: dict[str, Any], root: str) -> None:
    """Train one trial as most scripts do, and report the validation accuracy of every epoch."""
    torch.set_num_threads(1)
    drawn, of = load.parse(chosen, "bench"), dataset.Dataset.model_validate(prepared)
    drawn = load.changed(drawn, config["values"], "bench")
    shards = {
        split: [dataset.read_shard(open_root(root), f"{of.path}/{one.file}") for one in of.splits[split]]
        for split in ("train", "val")
    }
    train, val = (Images(run.feed_of(drawn, of, split), shards[split]) for split in ("train", "val"))
    model = bundle.create(drawn, of.labels).model
    epoch = 0
    for phase in drawn.finetune.phases:
        model.open_groups(len(model.groups) if phase.depth == "all" else int(phase.depth))
        heads = [weight for name, weight in model.named_parameters() if weight.requires_grad and "heads" in name]
        rest = [weight for name, weight in model.named_parameters() if weight.requires_grad and "heads" not in name]
        groups = [{"params": heads, "lr": phase.rates.head}, {"params": rest, "lr": phase.rates.backbone}]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
        loader = DataLoader(train, drawn.train.batch, shuffle=True, drop_last=True)
        for _ in range(phase.epochs):
            model.train()
            for pixels, targets in loader:
                loss = torch.nn.functional.cross_entropy(model(pixels)["defect"], targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            epoch, train.epoch = epoch + 1, train.epoch + 1
            tune.report({"accuracy": accuracy(model, val), "epoch": epoch})


@torch.no_grad()
def accuracy(model: torch.nn.Module, val: Images) -> float:
    """Return the share of validation images that are answered rightly."""
    model.eval()
    right = sum(int((model(pixels)["defect"].argmax(1) == kinds).sum()) for pixels, kinds in DataLoader(val, 32))
    return right / len(val)


class Clock(tune.Callback):
    """Notes the best accuracy so far and when it was reached."""

    def __init__(self) -> None:
        self.began, self.best = time.monotonic(), [(0.0, 0.0)]

    def on_trial_result(self, *, result: dict[str, Any], **_: Any) -> None:
        if result["accuracy"] > self.best[-1][1]:
            self.best.append((time.monotonic() - self.began, result["accuracy"]))


def run_vanilla(chosen: Experiment, prepared: dataset.Dataset, values: list[dict[str, Any]]) -> tuple[Clock, float]:
    """Run all trials under Ray Tune as its own documentation has it."""
    given = {
        "chosen": chosen.model_dump(mode="json"),
        "prepared": prepared.model_dump(mode="json"),
        "root": chosen.storage.root,
    }
    most = sum(phase.epochs for phase in chosen.finetune.phases)
    clock = Clock()
    tune.Tuner(
        tune.with_resources(tune.with_parameters(vanilla, **given), {"CPU": 1}),
        param_space={"values": tune.grid_search(values)},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            max_concurrent_trials=CONCURRENT,
            scheduler=ASHAScheduler(time_attr="epoch", max_t=most, grace_period=1, reduction_factor=REDUCTION),
        ),
        run_config=tune.RunConfig(storage_path=f"{chosen.storage.root}/vanilla", callbacks=[clock], verbose=0),
    ).fit()
    return clock, time.monotonic() - clock.began


def main() -> None:
    """Run both sweeps, Thaw first and vanilla second, and compare."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as folder, on_ray.cluster(cpus=CONCURRENT):
        root = str(Path(folder))
        chosen, searched = experiment(root), study(trials)
        prepared = data.prepare(chosen)
        groups = len(bundle.create(chosen, prepared.labels).model.groups)
        known = searched.resolved(groups)
        draws = sampler(known, known.search)
        values = [draws.suggest(number, []) or {} for number in range(trials)]
        found = tuning.search(chosen, searched, root)
        reports = sorted((report.at_s, report.score) for trial in found.trials for report in trial.reports)
        clock, vanilla_s = run_vanilla(chosen, prepared, values)
        aim = clock.best[-1][1]
        thaw_s = max(at for at, _ in reports)
        reached = next((at for at, score in reports if score >= aim - 1e-9), None)
        for name, curve in (("vanilla", clock.best), ("thaw", reports)):
            print(name, [(round(at, 1), round(score, 4)) for at, score in curve], file=sys.stderr)
    print(
        json.dumps(
            {
                "vanilla_over_thaw": round(clock.best[-1][0] / reached, 2) if reached else 0.0,
                "metric": round(aim, 4),
                "seconds": {"vanilla": round(clock.best[-1][0], 1), "thaw": round(reached, 1) if reached else None},
                "trials_per_hour": {
                    "vanilla": round(trials / vanilla_s * 3600, 1),
                    "thaw": round(len(found.trials) / thaw_s * 3600, 1),
                },
                "ray": ray.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
