"""The smallest experiment that is still real: two heads, generated boards, a network of a few layers."""

from thaw.config import load
from thaw.config.experiment import Experiment

EXPERIMENT = {
    "name": "tiny",
    "data": {
        "source": {"type": "boards", "images": 72, "size": 64},
        "split": {"val": 0.2, "test": 0.2},
        "image": {"size": 64},
        "shard_images": 16,
    },
    "tasks": {"verdict": {"type": "classification"}, "layout": {"type": "classification"}},
    "model": {"backbone": "test_efficientnet", "weights": {"source": "none"}},
    "finetune": {"phases": [{"epochs": 2, "depth": 0}, {"epochs": 2, "depth": 3}]},
    "train": {"batch": 8, "precision": "fp32", "device": "cpu", "cpus_per_worker": 0.5},
}


def changed(experiment: Experiment, **places) -> Experiment:
    """Return the experiment with dotted places, written with two underscores, set to other values."""
    values = experiment.model_dump(mode="json")
    for place, value in places.items():
        *steps, last = place.split("__")
        inner = values
        for step in steps:
            inner = inner[step]
        inner[last] = value
    return load.parse(values, "test")
