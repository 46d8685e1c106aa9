"""Cost: parameters, multiply-accumulates and time of a backbone, none of which depends on the values of its weights."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thaw.backbones import family

_LEAST_RUNS, _MOST_RUNS = 3, 100
_ENOUGH_S = 2.0
"""Runs stop after so many seconds, once there are `_LEAST_RUNS`."""
_UNDISTURBED = 0.9


@dataclass(frozen=True)
class Size:
    """What a backbone is, without its classifier.

    Attributes:
        parameters: weights, BatchNorm's statistics not among them.
        macs: multiply-accumulates of one image.
    """

    parameters: int
    macs: int


def size(name: str, image_size: int) -> Size:
    """Return the size of a backbone for square images of ``image_size`` pixels, without making any weight.

    Matrix products and convolutions count, half of what PyTorch's ``FlopCounterMode`` calls floating-point operations;
    what is done element by element does not.

    Raises:
        ModelError: there is no such backbone, or it cannot take this size.
    """
    with torch.device("meta"):
        backbone = family.of(name).create(name, image_size).eval()
        with FlopCounterMode(display=False) as counter:
            backbone(torch.empty(1, 3, image_size, image_size), False)
    return Size(sum(one.numel() for one in backbone.parameters()), counter.get_total_flops() // 2)


@dataclass(frozen=True)
class Latency:
    """How long a batch takes.

    Attributes:
        ms: median milliseconds.
        running: share of the time that the measured thread had a core; clearly less than 1 where others wanted it too.
        slow_ms: milliseconds that 95 of 100 runs stay below.
    """

    ms: float
    running: float
    slow_ms: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether others had the cores so often that the figure tells of them."""
        return self.running < _UNDISTURBED


@torch.inference_mode()
def latency(model: nn.Module, image_size: int, batch: int, device: torch.device) -> Latency:
    """Return how long one forward pass of uint8 pixels takes, after two passes that do not count."""
    pixels = torch.zeros(batch, 3, image_size, image_size, dtype=torch.uint8, device=device)

    def forward() -> None:
        model(pixels)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return timed(forward, on_cpu=device.type == "cpu")


def timed(run: Callable[[], object], on_cpu: bool = True) -> Latency:
    """Return how long something takes, after two runs that do not count."""
    for _ in range(2):
        run()
    held = time.thread_time()
    taken = _timed(run)
    running = (time.thread_time() - held) / sum(taken) if on_cpu else 1.0
    slow = sorted(taken)[min(len(taken) - 1, round(0.95 * len(taken)))]
    return Latency(1000 * statistics.median(taken), min(running, 1.0), 1000 * slow)


def _timed(run: Callable[[], object]) -> list[float]:
    """Return the seconds that each of some runs took."""
    taken: list[float] = []
    while len(taken) < _LEAST_RUNS or (sum(taken) < _ENOUGH_S and len(taken) < _MOST_RUNS):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken
