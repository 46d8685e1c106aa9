"""What the self-test trains, and the bugs that may be planted in it to see that they are caught."""

from typing import Any, Literal

from thaw.config import load as config
from thaw.config.experiment import Experiment

Bug = Literal["gradients", "shares"]
"""gradients: they are not averaged over the workers. shares: all workers learn from the same share of each batch."""

BUGS: tuple[Bug, ...] = ("gradients", "shares")

_STILL = {"hflip": 0, "rotate": 0, "shift": 0, "zoom": [1, 1], "brightness": 0, "contrast": 0, "saturation": 0}
_IMAGES, _BATCH = 96, 24


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
            "cpus_per_worker": 0.5,
            "max_failures": 0,
            "cache": {"use": "never"},
        },
        "storage": {"root": root},
    }
    return config.parse(values, "selftest")


def sizes(nodes: int, gpus: int, cpus: float) -> tuple[int, ...]:
    """Return with how many workers to train: with one, with two, and with one a node or a GPU.

    Args:
        cpus: that are free; half a CPU a worker and a whole one for decoding are taken.
    """
    room = max(0, int((cpus - 1) / 0.5))
    wanted = (1, 2, max(2, nodes, gpus))
    return tuple(sorted({one for one in wanted if one <= min(room, gpus or room)}))
