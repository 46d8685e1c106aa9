"""Fill: computing a worker's share of what is to be kept, block by block, unless another run is at it already.

Blocks are cut from the images in the order of the split, so that what they hold depends on nothing but the content.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from thaw.data.feed import Feed
from thaw.model import FinetuneModel
from thaw.training.frozen_prefix.blocks import Block, block_rows
from thaw.training.frozen_prefix.claims import Spot
from thaw.training.step import Batch, Device

_POLL_S = 0.2

Stream = Callable[[Feed, int, int], Generator[Batch]]
"""The batches of a feed from one step to before another."""


class Store(Protocol):
    """Where blocks are kept, for all workers of a run."""

    @property
    def max_bytes(self) -> int:
        """Bytes that may be kept at the same time."""

    def put(self, key: str, place: int, block: Block) -> None:
        """Keep a block, if there is room for it."""

    def places(self, key: str) -> set[int]:
        """Return which blocks are there."""

    def get(self, key: str) -> dict[int, Block]:
        """Return the blocks that are there."""

    def claim(self, name: str, wanted: Sequence[Spot]) -> list[Spot]:
        """Return those spots that are missing, and that ``name`` and nobody else is to compute now."""

    def release(self, name: str) -> None:
        """End all claims of a name."""


@dataclass(frozen=True)
class Cost:
    """What one block took.

    Attributes:
        waited_s: seconds until its pixels were there.
        below_s: seconds to compute what is below.
    """

    block: Block
    waited_s: float
    below_s: float


def in_blocks(feed: Feed) -> Feed:
    """Return the feed whose steps are the blocks of a feed's images: a view after the other, each in order."""
    rows = block_rows(feed.preprocess.size)
    return replace(feed, batch=rows, worker=0, workers=1, views=None, in_order=True)


def fill(
    model: FinetuneModel, feed: Feed, keys: Mapping[int, str], store: Store, stream: Stream, on: Device
) -> Generator[Cost]:
    """Compute this worker's share of the blocks that the store lacks, and tell after each what it took.

    Args:
        keys: view -> key.
    """
    blocks, name, computed = in_blocks(feed), uuid.uuid4().hex, set[int]()
    try:
        while missing := [step for step in _missing(blocks, keys, store, on) if step not in computed]:
            spots = {_spot(blocks, keys, step): step for step in missing}
            mine = [spots[spot] for spot in store.claim(name, list(spots))]
            for first, stop in _runs(mine):
                yield from _computed(model, blocks, keys, store, stream, range(first, stop), on)
            computed.update(mine)
            if not mine:
                time.sleep(_POLL_S)  # another run computes them
    finally:
        store.release(name)


def _computed(
    model: FinetuneModel,
    blocks: Feed,
    keys: Mapping[int, str],
    store: Store,
    stream: Stream,
    steps: range,
    on: Device,
) -> Generator[Cost]:
    asked = time.perf_counter()
    for step, batch in zip(steps, stream(blocks, steps.start, steps.stop), strict=True):
        came = time.perf_counter()
        block = _block(model, batch, on)
        done = time.perf_counter()
        store.put(*_spot(blocks, keys, step), block)
        yield Cost(block, came - asked, done - came)
        asked = time.perf_counter()


def _spot(blocks: Feed, keys: Mapping[int, str], step: int) -> Spot:
    return keys[blocks.view(step)], step % blocks.epoch_steps


def is_complete(feed: Feed, keys: Mapping[int, str], store: Store) -> bool:
    """Return whether the store has all blocks."""
    return all(len(store.places(key)) == in_blocks(feed).epoch_steps for key in keys.values())


def _missing(blocks: Feed, keys: Mapping[int, str], store: Store, on: Device) -> list[int]:
    """Return the steps of this worker's share that the store lacks; a share is as connected as can be."""
    steps = [view * blocks.epoch_steps + place for view in sorted(keys) for place in range(blocks.epoch_steps)]
    mine = np.array_split(np.array(steps), on.workers)[on.worker].tolist()
    there = {view: store.places(key) for view, key in keys.items()}
    return [step for step in mine if step % blocks.epoch_steps not in there[blocks.view(step)]]


def _runs(steps: Sequence[int]) -> list[tuple[int, int]]:
    """Return steps as ranges without gaps, each as its first and the one after its last."""
    groups = itertools.groupby(enumerate(steps), key=lambda pair: pair[1] - pair[0])
    found = [[step for _, step in group] for _, group in groups]
    return [(run[0], run[-1] + 1) for run in found]


@torch.no_grad()
def _block(model: FinetuneModel, batch: Batch, on: Device) -> Block:
    pixels = torch.as_tensor(batch["pixels"]).to(on.device, non_blocking=True)
    with torch.autocast(on.device.type, dtype=on.autocast, enabled=on.autocast is not None):
        return Block.of(model.cut(pixels), batch)
