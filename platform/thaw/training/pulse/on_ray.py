"""A run's pulse: gauges that Ray exports to Prometheus from the node of the first worker, while the run trains.

Ray puts ``ray_`` before their names; their label ``run`` is the run's folder in the storage root. What a run came to is
not told here: that is in its record and its curves.
"""

import math

from ray.util.metrics import Gauge

from thaw.training.state import Epoch

GAUGES = {
    "thaw_training_step": "Steps begun; it stands still where training does.",
    "thaw_training_images_per_second": "Images of the last epoch over its time without validation.",
    "thaw_training_waiting_ratio": "Share of the last epoch's training time spent waiting for data.",
    "thaw_training_loss_finite": "1 while every loss is a finite number, else 0.",
}
"""Name -> what it says."""


class Pulse:
    """The gauges of one run; to be set by its first worker alone."""

    def __init__(self, run: str) -> None:
        """Begin with losses that are as they should be.

        Args:
            run: the run's folder.
        """
        self._gauges = {name: Gauge(name, told, tag_keys=("run",)) for name, told in GAUGES.items()}
        self._run = {"run": run}
        self._set("thaw_training_loss_finite", 1)

    def step(self, step: int) -> None:
        """Say that a step begins."""
        self._set("thaw_training_step", step)

    def epoch(self, epoch: Epoch) -> None:
        """Say how an epoch went."""
        self._set("thaw_training_images_per_second", epoch.images_per_s)
        self._set("thaw_training_waiting_ratio", epoch.waiting)
        losses = (*epoch.train_loss.values(), *epoch.val_loss.values())
        self._set("thaw_training_loss_finite", float(all(math.isfinite(loss) for loss in losses)))

    def lost(self) -> None:
        """Say that the run ends because its loss was no longer a finite number."""
        self._set("thaw_training_loss_finite", 0)

    def _set(self, name: str, value: float) -> None:
        self._gauges[name].set(value, tags=self._run)
