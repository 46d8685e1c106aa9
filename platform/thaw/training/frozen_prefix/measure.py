"""Measure: what the first blocks and a trial step above the cut say of the cost of a phase."""

import time
from collections.abc import Sequence

import torch

from thaw.bundle import Bundle
from thaw.data.feed import Feed
from thaw.training import step
from thaw.training.frozen_prefix.blocks import Kept
from thaw.training.frozen_prefix.cost import Measured
from thaw.training.frozen_prefix.fill import Cost
from thaw.training.step import Batch, Device


def measured(trained: Bundle, first: Sequence[Cost], feed: Feed, on: Device) -> Measured:
    """Return what one image costs, from the first blocks that were computed; training is left as it was.

    The first block waits for decoding to begin and for memory to be had, which comes with the cache or without.
    """
    steady = first[1:] or first
    rows = sum(one.block.rows for one in steady)
    below = sum(one.below_s for one in steady) / rows
    waited = sum(one.waited_s for one in first[1:]) / rows
    block = first[0].block
    kept = Kept({0: [block]}, block.rows, feed.labels, feed.preprocess.size)
    batch = kept.batch(0, range(min(block.rows, feed.batch // feed.workers)))
    return Measured(waited + below, below, _above_s(trained, batch, on), block.nbytes / block.rows)


def _above_s(trained: Bundle, batch: Batch, on: Device) -> float:
    """Return the seconds an image that a step above the cut takes, but for the optimizer's part."""
    model = trained.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [buffer.clone() for buffer in model.buffers()]
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        sums, _counts = step.losses(model, trained.tasks, batch, on)
        # Not backward(): it would call what averages gradients over workers.
        torch.autograd.grad(sums.sum(), weights, allow_unused=True)
        if on.device.type == "cuda":
            torch.cuda.synchronize(on.device)
        taken = time.perf_counter() - started
    for buffer, was in zip(model.buffers(), before, strict=True):
        buffer.copy_(was)
    return taken / step.images_in(batch)
