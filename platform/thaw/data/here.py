"""Here: batches decoded in this process, a few ahead of their use.

For short runs over few images: Ray Data decodes on all nodes, but each of its pipelines takes seconds to begin.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from thaw.data.feed import Feed


def stream(
    feed: Feed, shards: Sequence[pa.Table], start: int, stop: int, threads: int = 1
) -> Generator[dict[str, NDArray[Any]]]:
    """Yield the batches of steps ``start`` to ``stop``; those without images, which a worker may have, are left out.

    Args:
        shards: the encoded rows of the split, in the feed's order.
        threads: that decode, each a batch; twice as many batches are decoded before they are asked for.
    """
    pool, ahead = ThreadPoolExecutor(threads, "thaw-decode"), 2 * threads

    def begin(step: int) -> Future[dict[str, NDArray[Any]]]:
        return pool.submit(feed.load, step, shards.__getitem__)

    try:
        begun = deque(begin(step) for step in range(start, min(start + ahead, stop)))
        for step in range(start, stop):
            batch = begun.popleft().result()
            if step + ahead < stop:
                begun.append(begin(step + ahead))
            if len(batch["pixels"]):
                yield batch
    finally:
        pool.shutdown(cancel_futures=True)
