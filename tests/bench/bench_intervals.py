"""How often the 95 % interval of a figure holds the truth, by simulation.

    python tests/bench/bench_intervals.py [--sets 500] [--images 300]

A model is drawn, not trained: its scores, and its boxes, come from a fixed distribution, of which one very large test
set tells the true figure. Of many small test sets each gives an interval. Aim: 93 to 97 in 100 of them hold the truth,
for accuracy, AUROC and mAP50. The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Callable

import numpy as np

from thaw.evaluation import bootstrap
from thaw.metrics.boxes import ImageBoxes
from thaw.metrics.weighted.boxes import BoxSample
from thaw.metrics.weighted.classes import ClassSample
from thaw.metrics.weighted.contract import Sample

NAMES = ("ant", "bee", "cat")
SHARES = (0.5, 0.3, 0.2)
LARGE = 400
"""How many times a test set the one is that tells the truth."""


def classes(random: np.random.Generator, images: int) -> Sample:
    """Return answers with four in five right."""
    targets = random.choice(len(NAMES), images, p=SHARES)
    outputs = random.normal(size=(len(targets), len(NAMES))) + 1.8 * np.eye(len(NAMES))[targets]
    scores = np.exp(outputs)
    scores /= scores.sum(axis=1, keepdims=True)
    return ClassSample(NAMES, scores, targets, scores.argmax(axis=1), targets < 0)


def boxes(random: np.random.Generator, images: int) -> Sample:
    """Return answers to images with up to five true boxes, of which most are found."""
    return BoxSample(NAMES, [_image(random) for _ in range(images)], np.full(3, 0.5), 100)


def _image(random: np.random.Generator) -> tuple[ImageBoxes, ImageBoxes]:
    true, false = random.integers(0, 6), random.poisson(2)
    corner = random.uniform(0, 200, (true, 2))
    truth = np.concatenate([corner, corner + random.uniform(15, 80, (true, 2))], axis=1)
    labels = random.choice(len(NAMES), true, p=SHARES)
    seen = random.random(true) < 0.85
    near = (truth + random.normal(0, 4, truth.shape))[seen]
    corner = random.uniform(0, 200, (false, 2))
    guess = np.concatenate([corner, corner + random.uniform(15, 80, (false, 2))], axis=1)
    found = ImageBoxes(
        np.concatenate([near, guess]),
        np.concatenate([labels[seen], random.choice(len(NAMES), false)]),
        np.concatenate([random.beta(4, 2, int(seen.sum())), random.beta(2, 4, false)]),
    )
    return found, ImageBoxes(truth, labels, np.ones(true))


FIGURES: dict[str, tuple[Callable[[np.random.Generator, int], Sample], tuple[str, ...]]] = {
    "classes": (classes, ("accuracy", "auroc_macro", "f1_macro")),
    "boxes": (boxes, ("map50", "precision")),
}


def main() -> None:
    """Draw test sets, and count whose intervals hold the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--draws", type=int, default=bootstrap.DRAWS)
    options = parser.parse_args()
    held: dict[str, float] = {}
    for kind, (make, names) in FIGURES.items():
        large = make(np.random.default_rng(10**6), options.images * LARGE)
        truth = {name: float(value) for name, [value] in large.metrics(np.ones((1, len(large)))).items()}
        inside = dict.fromkeys(names, 0)
        for number in range(options.sets):
            sample = make(np.random.default_rng(number), options.images)
            found = bootstrap.intervals(sample.metrics, bootstrap.draws(len(sample), number, options.draws))
            for name in names:
                inside[name] += found[name].low <= truth[name] <= found[name].high
            if number % 50 == 49:
                so_far = {name: round(count / (number + 1), 3) for name, count in inside.items()}
                print(f"{kind}: {number + 1} sets, truth {truth[names[0]]:.4f}: {so_far}", file=sys.stderr, flush=True)
        held |= {name: count / options.sets for name, count in inside.items()}
    print(json.dumps({"sets": options.sets, "images": options.images, "held": held}))


if __name__ == "__main__":
    main()
