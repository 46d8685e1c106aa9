"""Waiting: what to change when training waits for its images; a pure function of an epoch and of where they come from.

The share of its time that an epoch waited is on its line in the log, in metrics.csv and in TensorBoard
(``speed/waiting``). Here it is said what to do, from a tenth on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from thaw.config.experiment import Experiment
from thaw.training.state import Epoch

MUCH = 0.1
"""Share of the training time from which on it pays to change something."""
_LARGER = 1.5
"""Stored images whose shorter side is longer than the input's by this factor cost more to decode than they need."""
_SPARE, _STEP = 1.25, 32
"""What to store in their place: with room for zooming in, in steps of so many pixels."""


@dataclass(frozen=True)
class Supply:
    """Where a worker's images come from.

    Attributes:
        side: shorter side of the stored images, in pixels: that of half of them is no longer.
        decoders: batches that can be decoded at the same time for a worker, by the CPUs there are; 0 if unknown.
    """

    side: int
    decoders: float


def advice(epoch: Epoch, experiment: Experiment, supply: Supply) -> str:
    """Return what to change, by the names of settings, so that epochs wait less; empty where they wait little."""
    if epoch.waiting < MUCH:
        return ""
    if epoch.waiting - epoch.waiting_first < MUCH:
        return "waiting for data: nearly all of it for the first batch, which comes once a phase; nothing to change"
    return "waiting for data: " + "; or ".join(_ways(experiment, supply))


def _ways(experiment: Experiment, supply: Supply) -> Iterator[str]:
    chosen, size = experiment.train, experiment.data.image.size
    if chosen.prefetch and chosen.prefetch + 0.5 < supply.decoders:
        yield (
            f"raise train.prefetch from {chosen.prefetch} to {supply.decoders:.0f}: there are CPUs to decode so many "
            "batches at the same time"
        )
    stored = -(-int(size * _SPARE) // _STEP) * _STEP
    if supply.side > max(stored, size * _LARGER):
        yield (
            f"set data.reencode={stored}: images are decoded with a shorter side of {supply.side} pixels, and the "
            f"model sees {size}"
        )
    placed = bool(chosen.decode.labels or chosen.decode.resources)
    if chosen.device == "gpu" and not placed:
        yield "add CPU nodes (`ray start --labels role=data`) that decode, with train.decode.labels={role: data}"
    else:
        yield f"add CPUs or nodes {'that train.decode names' if placed else 'to decode on'}"
