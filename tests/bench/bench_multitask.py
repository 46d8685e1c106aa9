"""One forward pass for three tasks against three models with one task each, on the same pixels, backbone and cores.

    python tests/bench/bench_multitask.py [rounds]

All models have random weights, which cost the same as trained ones, but for the boxes that survive: so the time is
that of the network alone, without decoding answers. They take turns. The last line of stdout is one JSON object of
ratios: medians over the rounds.
"""

import json
import os
import statistics
import sys
import time

import torch

from thaw import bundle
from thaw.config import load
from thaw.data.labels import LabelSchema
from thaw.model import FinetuneModel

SIZE, BATCH, PASSES = 192, 8, 6
LABELS = {
    "defect": LabelSchema(kind="class", names=("inclusion", "patches", "scratches")),
    "defects": LabelSchema(kind="boxes", names=("inclusion", "patches", "scratches")),
    "mask": LabelSchema(kind="mask", names=("background", "inclusion", "patches", "scratches")),
}
TASKS = {"defect": "classification", "defects": "detection", "mask": "segmentation"}


def model(*names: str) -> FinetuneModel:
    """Return a model with these heads on EfficientNet-Lite0."""
    values = {
        "name": "bench",
        "data": {"source": {"type": "boards"}, "image": {"size": SIZE}},
        "tasks": {name: {"type": TASKS[name]} for name in names},
        "model": {"weights": {"source": "none"}, "pyramid": 64},
    }
    made = bundle.create(load.parse(values, "bench"), {name: LABELS[name] for name in names})
    return made.model.eval().to(memory_format=torch.channels_last)


def seconds(one: FinetuneModel, pixels: torch.Tensor) -> float:
    """Return the median time of a forward pass."""
    found = []
    with torch.inference_mode():
        for _ in range(PASSES):
            started = time.perf_counter()
            one(pixels)
            found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    """Let the four models take turns and print the median of their ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(os.cpu_count() or 1)
    together, alone = model(*TASKS), {name: model(name) for name in TASKS}
    ratios: dict[str, list[float]] = {}
    for batch in (1, BATCH):
        pixels = torch.randint(0, 256, (batch, 3, SIZE, SIZE), dtype=torch.uint8)
        for turn in range(rounds + 1):
            three = seconds(together, pixels)
            each = {name: seconds(one, pixels) for name, one in alone.items()}
            if turn == 0:
                continue  # the first turn pays for memory that later ones reuse
            ratios.setdefault(f"three_vs_dearest_batch{batch}", []).append(three / max(each.values()))
            ratios.setdefault(f"three_vs_sum_batch{batch}", []).append(three / sum(each.values()))
            shown = ", ".join(f"{name} {1000 * value:.0f}" for name, value in each.items())
            print(f"batch {batch}: together {1000 * three:.0f} ms; alone {shown}", file=sys.stderr)
    print(json.dumps({name: round(statistics.median(values), 3) for name, values in ratios.items()}))


if __name__ == "__main__":
    main()
