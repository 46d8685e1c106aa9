"""What opening layers is worth: heads on a frozen backbone against the plan as it is written, on real sets.

    THAW_DATA=... python tests/bench/bench_opening.py [--sets pets steel ...] [--share 1.0] [SETTING=VALUE ...]

Each set's experiment in ``jobs/configs`` is trained twice for as many epochs: once as it is written, once with every
phase at depth 0. Both are scored on the test images and compared image by image, with 95 % intervals of the difference.
Classifiers get an operating point that allows 1 % false positives, settled on validation images; what test images make
of it is told beside the false positives of the usual rule. ``--share`` shortens the phases. It runs on whatever device
training would choose. The last line of stdout is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from thaw import catalog, on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import on_ray as data
from thaw.evaluation import comparison, figures
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.comparing import on_ray as comparing
from thaw.training import on_ray as training

SETS = ("pets", "steel", "blood", "grocery")
CONFIGS = Path(__file__).parents[2] / "jobs" / "configs"
POINT = {"max_false_positive_rate": 0.01}


def experiment(name: str, root: str, share: float, changes: list[str]) -> Experiment:
    """Return a set's experiment with the allowed rate of false positives for each of its classifiers."""
    values = load.load(CONFIGS / f"{name}.yaml", [f"storage.root={root}", *changes]).model_dump(mode="json")
    for task in values["tasks"].values():
        if task["type"] == "classification":
            task["operating_point"] = POINT
    for phase in values["finetune"]["phases"]:
        phase["epochs"] = max(1, round(share * phase["epochs"]))
    return load.parse(values, name)


def frozen(chosen: Experiment) -> Experiment:
    """Return the same experiment with the backbone frozen throughout, at the first phase's rate for heads."""
    values = chosen.model_dump(mode="json")
    first, *_ = phases = values["finetune"]["phases"]
    values["finetune"]["phases"] = [{**first, "depth": 0, "epochs": sum(phase["epochs"] for phase in phases)}]
    return load.parse(values, chosen.name)


def measured(name: str, chosen: Experiment) -> dict[str, Any]:
    """Train both, score both on the test images, and return what opening changed."""
    prepared = data.prepare(chosen)
    runs = [training.train(one, prepared) for one in (frozen(chosen), chosen)]
    references = [str(run.bundle).removeprefix("models/") for run in runs]
    scores = [evaluation.evaluate(chosen, one, prepared) for one in references]
    found, _ = comparing.compare(chosen.storage.root, references[0], references[1], "test")
    for said in (f"{name}:", *comparison.lines(found.tasks), *figures.lines(scores[1].figures)):
        print(said, file=sys.stderr)
    return {
        "minutes": [round(run.wall_s / 60, 2) for run in runs],
        "device": runs[1].environment["device"],
        "tasks": {task: _told(chosen, task, one) for task, one in found.tasks.items()},
        "operating_points": {
            task: [[_point(one) for one in score.figures[task].kept] for score in scores]
            for task in scores[1].figures
            if scores[1].figures[task].kept
        },
    }


def _told(chosen: Experiment, task: str, found: comparison.TaskComparison) -> dict[str, Any]:
    metric = catalog.part("tasks", chosen.tasks[task].type).Task.best_metric
    best = found.metrics[metric]
    told = {"metric": metric, "frozen": best.before, "opened": best.after, **best.difference.model_dump(mode="json")}
    return {**told, "mcnemar": found.mcnemar, "images": found.images}


def _point(kept: Any) -> dict[str, Any]:
    return kept.model_dump(mode="json")  # type: ignore[no-any-return]


def main() -> None:
    """Measure set after set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--share", type=float, default=1.0, help="of the epochs as written")
    options, changes = parser.parse_known_args()
    if not os.environ.get("THAW_DATA"):
        sys.exit("bench_opening: set THAW_DATA to the folder of the real sets")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as root, on_ray.cluster():
        for name in options.sets:
            found[name] = measured(name, experiment(name, root, options.share, changes))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
