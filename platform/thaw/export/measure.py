"""What a network costs on this machine, by the clock that backbones are compared with."""

import functools
import platform

import numpy as np
import torch

from thaw import processor
from thaw.backends.artifact import Cost
from thaw.predictor import Backend
from thaw.probe import cost

BATCHES = (1, 32)


def measure(network: Backend, batches: tuple[int, ...] = BATCHES) -> Cost:
    """Return what answering costs, from pixels of the input to what answers are read off, in this process's threads."""
    size = network.description.preprocess.size
    found: dict[int, cost.Latency] = {}
    for batch in batches:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), dtype=np.uint8)
        given = torch.from_numpy(pixels)
        found[batch] = cost.timed(functools.partial(network.readouts, given))
    return Cost(
        p50_ms={str(batch): one.ms for batch, one in found.items()},
        p95_ms={str(batch): one.slow_ms for batch, one in found.items()},
        images_per_s=max(1000 * batch / one.ms for batch, one in found.items()),
        running=min(one.running for one in found.values()),
    )


def machine() -> str:
    """Return what this machine computes with."""
    return f"{processor.facts().get('cpu_name', platform.processor() or 'CPU')} x {torch.get_num_threads()}"
