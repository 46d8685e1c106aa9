"""Batcher: one queue, and threads that compute, each a lane; whoever waits when a lane is free goes together.

A lane takes its next batch itself, so that between two batches it waits for nothing, least of all for the event loop.
Nothing here knows what is computed.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from thaw.serving.api.contract import Refused

One = TypeVar("One")
Told = TypeVar("Told")

_ENOUGH = 0.95
"""Share of the best throughput that a smaller batch must reach to be preferred to a larger one."""
_MEMORY = 0.8
"""Weight of what is known of the speed against one new batch."""
_LONGEST_RETRY_S = 60
_LONGEST_PASS_S = 1.0
"""Seconds of one batch beyond which larger ones are not measured."""


@dataclass(frozen=True)
class Result(Generic[Told]):
    """What became of one of those that were computed together.

    Attributes:
        queue_s: seconds until the computation began.
        infer_s: seconds of the computation, of all together.
        batch: how many went together.
    """

    value: Told
    queue_s: float
    infer_s: float
    batch: int


@dataclass(eq=False)
class _Waiting(Generic[One, Told]):
    one: One
    deadline: float | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Result[Told]]"
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[One, Told]):
    """Computes for many callers of one event loop, a batch at a time."""

    def __init__(
        self,
        work: Callable[[list[One]], Sequence[Told | BaseException]],
        most: int,
        room: int,
        wait_s: float = 0.0,
        name: str = "forward",
        lanes: int = 1,
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin to wait for what is to be computed.

        Args:
            work: what computes; called in as many threads as there are lanes. What it returns of one may be an error,
                to be raised.
            most: in a batch.
            room: how many may be under way, in all.
            wait_s: how long an idle lane waits for more to come once one is there.
            lanes: most batches that are computed at the same time.
            begin: called once in each lane.
        """
        self.most, self._work, self._room, self._wait_s = most, work, room, wait_s
        self._begin = begin
        self._queue: deque[_Waiting[One, Told]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._under_way = 0
        self._each_s = 0.0
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(lanes)]
        for thread in self._threads:
            thread.start()

    @property
    def under_way(self) -> int:
        """How many have been admitted and not left."""
        return self._under_way

    @property
    def waiting(self) -> int:
        """How many wait until a lane is free."""
        return len(self._queue)

    @property
    def each_s(self) -> float:
        """Seconds in which one is computed, of late, all lanes together; 0 before the first."""
        return self._each_s

    @contextmanager
    def admitted(self, left_s: float | None = None) -> Iterator[None]:
        """Take a place among those that are under way while the block runs.

        Args:
            left_s: seconds after which the answer is of no more use.

        Raises:
            Refused: all places are taken, or what is ahead takes longer than is left.
        """
        ahead_s = self._under_way * self._each_s
        if self._under_way >= self._room or (left_s is not None and ahead_s > left_s):
            told = f"{self._under_way} images are under way; send it again later"
            raise Refused(503, "overloaded", told, retry_after=min(_LONGEST_RETRY_S, max(1, math.ceil(ahead_s))))
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def ask(self, one: One, deadline: float | None = None) -> Result[Told]:
        """Return what is computed of ``one``; a caller that is cancelled leaves the queue.

        Args:
            deadline: by `time.monotonic`; past it nothing is computed.

        Raises:
            Refused: the deadline has passed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting[One, Told](one, deadline, loop, loop.create_future())
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()
        try:
            return await waiting.future
        finally:
            if not waiting.future.done() or waiting.future.cancelled():
                self._leave(waiting)

    def close(self) -> None:
        """End all lanes once what waits is computed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _leave(self, waiting: _Waiting[One, Told]) -> None:
        with self._changed:
            if waiting in self._queue:
                self._queue.remove(waiting)

    def _run(self) -> None:
        self._begin()
        while batch := self._take():
            began = time.monotonic()
            try:
                values = self._work([waiting.one for waiting in batch])
            except Exception as error:  # noqa: BLE001 - the thread goes on, and each caller is told
                _tell(batch, [error] * len(batch))
                continue
            took = time.monotonic() - began
            self._learn(took / len(batch) / len(self._threads))
            results = [
                value if isinstance(value, BaseException) else Result(value, began - waiting.since, took, len(batch))
                for waiting, value in zip(batch, values, strict=True)
            ]
            _tell(batch, results)

    def _take(self) -> list[_Waiting[One, Told]]:
        """Wait for the next batch and return it; it is empty when all is done."""
        with self._changed:
            while True:
                idle = not self._queue
                self._changed.wait_for(lambda: self._queue or self._closed)
                if idle and self._wait_s:
                    self._changed.wait_for(lambda: len(self._queue) >= self.most or self._closed, self._wait_s)
                batch = [self._queue.popleft() for _ in range(min(self.most, len(self._queue)))]
                late = [waiting for waiting in batch if waiting.deadline and waiting.deadline <= time.monotonic()]
                _tell(late, [passed() for _ in late])
                batch = [waiting for waiting in batch if waiting not in late]
                if batch or (self._closed and not self._queue):
                    return batch

    def _learn(self, each_s: float) -> None:
        known = self._each_s or each_s
        self._each_s = _MEMORY * known + (1 - _MEMORY) * each_s


def passed() -> Refused:
    """Return the refusal of what cannot be answered in time."""
    return Refused(504, "deadline", "the deadline passed before the image could be answered")


def best_batch(seconds: Mapping[int, float], target_s: float | None = None) -> int:
    """Return how many are best computed together.

    That is the fewest whose throughput comes near to the best one, among those that keep to the target; one where
    nothing keeps to it.

    Args:
        seconds: size of a batch -> what it takes; size 1 among them.
        target_s: most seconds that a batch may take.
    """
    allowed = {size: took for size, took in seconds.items() if target_s is None or took <= target_s} or {1: seconds[1]}
    best = max(size / took for size, took in allowed.items())
    return min(size for size, took in allowed.items() if size / took >= _ENOUGH * best)


def measured(
    run: Callable[[int], object],
    most: int,
    target_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Return what batches of 1, 2, 4 ... ``most`` take, in seconds: the median of three, after one that is not counted.

    It goes no further than the first size that exceeds the target, or that takes more than a second.
    """
    found: dict[int, float] = {}
    for size in (*(2**power for power in range(most.bit_length()) if 2**power < most), most):
        run(size)
        found[size] = sorted(_timed(run, size, clock) for _ in range(3))[1]
        if found[size] > min(target_s or _LONGEST_PASS_S, _LONGEST_PASS_S):
            break
    return found


def _timed(run: Callable[[int], object], size: int, clock: Callable[[], float]) -> float:
    began = clock()
    run(size)
    return clock() - began


def _tell(batch: Sequence[_Waiting[One, Told]], results: Sequence[Result[Told] | BaseException]) -> None:
    """Hand results to those who wait, in their own event loop."""
    if not batch:
        return

    def set_all() -> None:
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)

    try:
        batch[0].loop.call_soon_threadsafe(set_all)
    except RuntimeError:  # the loop is closed, and nobody waits
        return
