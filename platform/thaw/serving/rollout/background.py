"""Background: answers that nobody waits for, at the lowest priority; dropped while there is something else to do."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from thaw import predictor
from thaw.config.limits import Limits
from thaw.data import quality
from thaw.predictor import Answers, Backend

_ROOM = 4
"""Answers that may be under way; more would be held back behind what callers wait for, and become old."""


class Background:
    """One thread of low priority, for one event loop."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        """Begin with nothing to do.

        Args:
            busy: whether images wait for which a caller waits.
        """
        self._busy = busy
        self._thread = ThreadPoolExecutor(1, "background", _lowest)
        self._tasks: set[asyncio.Task[Any]] = set()

    def take(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Begin what may be dropped, and return whether it was begun."""
        if len(self._tasks) >= _ROOM or self._busy():
            return False
        task = asyncio.ensure_future(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def answer(self, network: Backend, content: bytes, limits: Limits) -> Answers:
        """Return the answers to an encoded image."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _answer, network, content, limits)

    async def idle(self) -> None:
        """Wait until all that was begun is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def disagreement(one: Answers, other: Answers) -> float:
    """Return the share of what one answer decides that the other one decides differently, averaged over tasks.

    A task that the other one does not answer, or answers with other classes so that nothing can be compared, counts as
    decided differently.
    """
    return sum(_apart(answer, other.get(task)) for task, answer in one.items()) / max(1, len(one))


def _apart(one: Any, other: Any) -> float:
    if type(one) is not type(other):
        return 1.0
    try:
        return float(one.disagreement(other))
    except (KeyError, ValueError):
        return 1.0


def _answer(network: Backend, content: bytes, limits: Limits) -> Answers:
    return predictor.answer(network, [quality.decode(content, limits)])[0]


def _lowest() -> None:
    os.nice(19)  # of this thread alone
    torch.set_num_threads(1)
