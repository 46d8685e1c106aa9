"""What `thaw inspect` finds of wrong labels that were planted in real images, and how many it names that are none.

    THAW_DATA=... python tests/bench/bench_labels.py [--sets pets grocery steel] [--share 0.05] [--seeds 3] [--size 128]

A share of all labels becomes another class: any other (`evenly`), or the one whose images are most like those of its
own (`alike`), which is how people err. Counted are those that are named as probably wrong, and again with those that
are said to be hard or wrong (`and_hard`), and how many of the first few of these are wrong. What is named and nobody
planted counts as a false alarm, even where it is a wrong label that the set has by itself; `nothing` says what share is
named before anything is planted. Aim, for 5 % drawn evenly: at least 60 % of them are named, and at least half of those
that are named are among them. Lines with figures go to stderr; the last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw import on_ray
from thaw.config import load
from thaw.data import on_ray as data
from thaw.inspection.checks.labels import SURE
from thaw.inspection.finding import SHOWN
from thaw.inspection.gather import gather
from thaw.probe.suspicion import suspect
from thaw.probe.vectors import on_ray as vectors
from thaw.storage import open_root

CONFIGS = Path(__file__).parents[2] / "jobs" / "configs"
TASKS = {"pets": "breed", "grocery": "product", "steel": "defect"}

Draw = Callable[["Images", NDArray[np.int64], np.random.Generator], NDArray[np.int64]]


@dataclass(frozen=True)
class Images:
    """The labelled images of a set.

    Attributes:
        vectors: (N, D) what the frozen backbone makes of them.
        labels: (N,) class indices.
        groups: (N,) equal for copies.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]


def images(name: str, size: int | None, storage: str) -> Images:
    """Return the images of a set, its own configuration saying how they are seen."""
    sized = [f"data.image.size={size}"] if size else []
    experiment = load.load(str(CONFIGS / f"{name}.yaml"), [*sized, f"storage.root={json.dumps(storage)}"])
    root, prepared = open_root(storage), data.prepare(experiment)
    material = gather(root, experiment, prepared, vectors.of_all(root, experiment, prepared))
    labels, groups = material.classes[TASKS[name]], np.array(material.facts["sha256"].to_pylist(), dtype=np.str_)
    kept = labels >= 0
    assert material.vectors is not None
    return Images(material.vectors[kept], labels[kept], groups[kept])


def evenly(seen: Images, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return another class for each of some images, any of the others."""
    classes = int(seen.labels.max()) + 1
    return np.asarray((seen.labels[rows] + random.integers(1, classes, len(rows))) % classes)


def alike(seen: Images, rows: NDArray[np.int64], _random: np.random.Generator) -> NDArray[np.int64]:
    """Return the class whose mean image is the nearest one to that of the image's own class."""
    centres = np.stack([seen.vectors[seen.labels == one].mean(axis=0) for one in range(int(seen.labels.max()) + 1)])
    centres /= seen.vectors.std(axis=0) + 1e-6
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) + np.diag(np.full(len(centres), np.inf))
    return np.asarray(apart.argmin(axis=1)[seen.labels[rows]])


def nothing(seen: Images, rows: NDArray[np.int64], _random: np.random.Generator) -> NDArray[np.int64]:
    """Return the class of each of some images as it is."""
    return np.asarray(seen.labels[rows])


DRAWS: dict[str, Draw] = {"nothing": nothing, "evenly": evenly, "alike": alike}


def measured(seen: Images, draw: Draw, share: float, seed: int) -> dict[str, float]:
    """Plant wrong labels, and return how many of them are named, and what share of the named ones they are."""
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(seen.labels))[: round(share * len(seen.labels))])
    labels = seen.labels.copy()
    labels[rows] = draw(seen, rows, random)
    found, bad = suspect(seen.vectors, labels, seen.groups, 0), labels != seen.labels
    if found is None:
        return {}
    wrong = found.wrong > SURE
    hard = (found.pull > 0) & ~wrong
    first = np.argsort(-found.pull * hard, kind="stable")[: min(SHOWN, int(hard.sum()))]
    both = {f"{figure}_and_hard": value for figure, value in _figures(wrong | hard, bad).items()}
    return {**_figures(wrong, bad), **both, "first_hard": _mean(bad[first])}


def _figures(named: NDArray[np.bool_], bad: NDArray[np.bool_]) -> dict[str, float]:
    return {"recall": _mean(named[bad]), "precision": _mean(bad[named]), "false_alarms": _mean(named[~bad])}


def _mean(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def averaged(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the means of figures over seeds, without those that no seed has."""
    by_name = {figure: [one[figure] for one in found if one[figure] == one[figure]] for figure in found[0]}
    return {figure: round(statistics.mean(values), 4) for figure, values in by_name.items() if values}


def main() -> None:
    """Plant wrong labels in each set and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["pets", "grocery"], choices=TASKS)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, help="of the model's input; that of the set's configuration when left out")
    parser.add_argument("--storage", help="where vectors are kept for next time; nowhere when left out")
    options = parser.parse_args()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as place, on_ray.cluster():
        for name in options.sets:
            seen = images(name, options.size, options.storage or place)
            told[name] = {"images": len(seen.labels)}
            for kind, draw in DRAWS.items():
                seeds = range(1 if draw is nothing else options.seeds)
                told[name][kind] = averaged([measured(seen, draw, options.share, seed) for seed in seeds])
                print(f"{name}, {kind}: {told[name][kind]}", file=sys.stderr, flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
