"""What the self-test trains, and the bugs that may be planted in it to see that they are caught."""

from collections.abc import Sequence
from typing import Any, Literal

from thaw.config import load as config
from thaw.config.experiment import Experiment

Bug = Literal["gradients", "shares"]
"""gradients: they are not averaged over the workers. shares: all workers learn from the same share of each batch."""

BUGS: tuple[Bug, ...] = ("gradients", "shares")

_STILL = {"hflip": 0, "rotate": 0, "shift": 0, "zoom": [1, 1], "brightness": 0, "contrast": 0, "saturation": 0}
_IMAGES, _BATCH = 96, 24
_SLOT = 0.5
"""CPUs of a worker."""


def experiment(root: str, workers: int, most: int) -> Experiment:
    """Return a fine-tuning of two heads and then of the layers below, on generated boards, without chance.

    Args:
        root: storage that every node reaches.
        most: workers of the largest run that it is compared with; the images and the batch are the same for all.
    """
    values: dict[str, Any] = {
        "name": "selftest",
        "data": {
            "source": {"type": "boards", "images": max(_IMAGES, 12 * most), "size": 64},
            "split": {"val": 0.2, "test": 0.1},
            "image": {"size": 64},
            "augment": _STILL,
        },
        "tasks": {"verdict": {"type": "classification"}, "layout": {"type": "classification"}},
        "model": {"backbone": "test_efficientnet", "weights": {"source": "none"}, "dropout": 0.0},
        "finetune": {
            "optimizer": {"name": "sgd"},
            "phases": [
                {"epochs": 1, "depth": 0, "rates": {"head": 0.02}},
                {"epochs": 1, "depth": "all", "rates": {"head": 0.02, "backbone": 0.005}},
            ],
        },
        "track": {"pictures": 0, "train_images": 0},
        "train": {
            "batch": max(_BATCH, 2 * most),
            "workers": workers,
            "precision": "fp32",
            "cpus_per_worker": _SLOT,
            "max_failures": 0,
            "cache": {"use": "never"},
        },
        "storage": {"root": root},
    }
    return config.parse(values, "selftest")


def sizes(cpus: Sequence[float], gpus: int, free: float) -> tuple[int, ...]:
    """Return with how many workers to train: with one, with two, and with one a node or a GPU.

    Decoding needs a whole CPU on some node, which is left on none of one CPU once each has a worker.

    Args:
        cpus: of each node.
        free: CPUs of all nodes that nobody has reserved.
    """
    room = max(0, int((free - 1) / _SLOT))
    if max(cpus) < 1 + _SLOT:
        room = min(room, len(cpus) - 1)
    wanted = (1, 2, max(2, len(cpus), gpus))
    return tuple(sorted({one for one in wanted if one <= min(room, gpus or room)}))
