"""Searching against not searching, for equally many images seen: the plan as it is written, random search, and ASHA.

    THAW_DATA=... python tests/bench/bench_search.py [--sets grocery pets] [--trials 6] [--seeds 0 1 2]
        [--ways default random asha tpe] [--size 96] [--out results.jsonl]

`default` trains the plan as it is written and nothing else. The others search depth, rates and their decay around it,
two trials at a time on a thread each: `random` lets so many trials end, `asha` draws alike, begins more of them and
stops most early, so that about as many images are seen in all; `tpe` also learns from earlier trials what to draw.
Images are what time is spent on, and unlike time they do not depend on what else the machine does. Each search's first
trial is the plan as it is written. What was best on the validation images is scored once on the test images. A tenth of
`grocery`'s training images and all of `pets`' are used. ``asha_over_random`` is the mean difference in test accuracy.
Lines with figures go to stderr; the last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench_recipes import EPOCHS, SETS, experiment, table

from thaw import on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.tuning import on_ray as tuning
from thaw.tuning.study import Study

SHARES = {"grocery": 0.1, "pets": 1.0, "steel": 0.1}
WAYS: dict[str, dict[str, Any]] = {
    "default": {"search": {"by": "random"}, "scheduler": {"by": "none"}},
    "random": {"search": {"by": "random"}, "scheduler": {"by": "none"}},
    "asha": {"search": {"by": "random"}, "scheduler": {"by": "asha", "grace_epochs": 4}},
    "tpe": {"search": {"by": "tpe"}, "scheduler": {"by": "asha", "grace_epochs": 4}},
}
MORE = 8 / 3
"""How many trials ASHA begins for each that random search lets end, to see about as many images."""
CONCURRENT = 2


def planned(chosen: Experiment, epochs: int, seed: int) -> Experiment:
    """Return the experiment with the plan that is searched around: heads alone for a quarter, then all groups."""
    values = chosen.model_dump(mode="json")
    values["seed"] = seed
    values["finetune"]["phases"] = [
        {"epochs": epochs // 4, "depth": 0, "views": 3},
        {"epochs": epochs - epochs // 4, "depth": "all"},
    ]
    return load.parse(values, "bench")


def study(way: str, trials: int) -> Study:
    """Return depth and rates as a space, and one way to search it."""
    depth = "finetune.phases[1].depth"
    opened = {depth: {"above": 0}}
    values = {
        "name": f"bench-{way}",
        "dimensions": {
            depth: {"int": [0, "all"]},
            "finetune.phases[1].rates.head": {"log": [1e-4, 1e-2]},
            "finetune.phases[1].rates.backbone": {"log": [1e-5, 3e-3], "when": opened},
            "finetune.phases[1].rates.decay": {"float": [0.4, 1.0], "when": opened},
        },
        "search": {"trials": {"default": 1, "random": trials}.get(way, round(MORE * trials)), **WAYS[way]["search"]},
        "scheduler": WAYS[way]["scheduler"],
        "budget": {"concurrent": CONCURRENT},
    }
    return Study.model_validate(values)


def searched(chosen: Experiment, way: str, trials: int) -> dict[str, Any]:
    """Run one search and return what its best trial came to."""
    began = time.monotonic()
    found = tuning.search(chosen, study(way, trials), chosen.storage.root)
    [metrics] = found.scores.metrics.values()
    return {
        "test": metrics["accuracy"],
        "val": found.best.best.score if found.best.best else None,
        "trials": len(found.trials),
        "ended": sum(trial.stage == "finished" for trial in found.trials),
        "images": sum(trial.reports[-1].images for trial in found.trials if trial.reports),
        "best": found.best.number,
        "minutes": (time.monotonic() - began) / 60,
    }


def main() -> None:
    """Search in every way that is asked for, and print means and spreads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["grocery", "pets"], choices=SETS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=6, help="of random search")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--out", type=Path, help="also append every search to this file as a JSON line")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as folder, on_ray.cluster(cpus=CONCURRENT):
        for name in options.sets:
            share = SHARES[name]
            path = table(name, share, Path(folder) / name)
            for seed in options.seeds:
                chosen = experiment(name, path, Path(folder), options.size, "lite0", {"source": "package"})
                for way in options.ways:
                    came = searched(planned(chosen, EPOCHS[share], seed), way, options.trials)
                    found[f"{name} {way}"].append(came)
                    told = json.dumps({"set": name, "way": way, "seed": seed, **came})
                    print(told, file=sys.stderr, flush=True)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(told + "\n")
    result: dict[str, Any] = {key: summary(runs) for key, runs in found.items()}
    gains = [
        asha["test"] - random["test"]
        for name in options.sets
        for asha, random in zip(found[f"{name} asha"], found[f"{name} random"], strict=False)
    ]
    print(json.dumps(result | {"asha_over_random": round(statistics.mean(gains), 4) if gains else None}))


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return mean and standard deviation of the test accuracy over seeds, and the mean number of trials."""
    test = [run["test"] for run in runs]
    return {
        "test": round(statistics.mean(test), 4),
        "spread": round(statistics.stdev(test), 4) if len(test) > 1 else 0.0,
        "images": round(statistics.mean(run["images"] for run in runs)),
        "trials": round(statistics.mean(run["trials"] for run in runs), 1),
        "minutes": round(statistics.mean(run["minutes"] for run in runs), 1),
    }


if __name__ == "__main__":
    main()
