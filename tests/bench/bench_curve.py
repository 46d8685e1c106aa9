"""Whether learning curves of a part of the training images say what all of them come to.

    THAW_DATA=... python tests/bench/bench_curve.py [--sets grocery steel] [--share 0.5] [--seeds 3] [--size 128]

`thaw learning-curve --max-images` is given a share of a set, drawn by each seed, and its band at the images of the
whole set is held against what heads that learnt from the whole set come to, to half a validation image, for a law knows
no whole images. Aim: the band, of nine in ten, holds it. Lines with figures go to stderr; the last line of stdout is
one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw import on_ray
from thaw.config import load
from thaw.probe.curve import on_ray as curves
from thaw.probe.curve.curve import Curve

CONFIGS = Path(__file__).parents[2] / "jobs" / "configs"
SETS = ("grocery", "steel")
"""Those that come with a split, so that a seed decides only which images are learnt from."""


def measured(name: str, overrides: list[str], seed: int, most: int | None = None) -> dict[str, Curve]:
    """Return the curves of a set, by task."""
    experiment = load.load(str(CONFIGS / f"{name}.yaml"), [*overrides, f"seed={seed}"])
    return {one.task: one for one in curves.measure(experiment, {}, most).curves}


def predicted(whole: Curve, part: Curve) -> dict[str, Any]:
    """Return what a curve of a part expects of the whole, and what the whole came to."""
    times, half = whole.images / part.images, 0.5 / whole.val
    expected = min(part.ahead, key=lambda one: abs(one.images - whole.images))
    return {
        "learnt_from": [part.sizes[0], part.images],
        "there": part.now,
        "times": round(times, 2),
        "expected": round(expected.value, 4),
        "band": [round(expected.low, 4), round(expected.high, 4)],
        "came_to": round(whole.now, 4),
        "held": expected.low - half <= whole.now <= expected.high + half,
    }


def compared(name: str, overrides: list[str], share: float, seeds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the task and what was predicted of it, for every seed."""
    whole = measured(name, overrides, 0)
    most = round(share * max(one.images for one in whole.values()))
    for seed in range(seeds):
        for task, part in measured(name, overrides, seed, most).items():
            told = predicted(whole[task], part)
            print(f"{name}, {task}, seed {seed}: {told}", file=sys.stderr, flush=True)
            yield task, told


def main() -> None:
    """Predict each set from a part of it and print how that came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["grocery"], choices=SETS)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, help="of the model's input; that of the set's configuration when left out")
    parser.add_argument("--storage", help="where vectors are kept for next time; nowhere when left out")
    options = parser.parse_args()
    told: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as place, on_ray.cluster():
        sized = [f"data.image.size={options.size}"] if options.size else []
        overrides = [*sized, f"storage.root={json.dumps(options.storage or place)}"]
        for name in options.sets:
            by_task = told.setdefault(name, {})
            for task, one in compared(name, overrides, options.share, options.seeds):
                by_task.setdefault(task, []).append(one)
    held = [one["held"] for by_task in told.values() for found in by_task.values() for one in found]
    print(json.dumps({"held": f"{sum(held)} of {len(held)}", "sets": told}))


if __name__ == "__main__":
    main()
