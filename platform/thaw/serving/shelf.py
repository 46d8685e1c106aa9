"""Shelf: the models in memory, by name and version; those not used for longest make room for others.

A model is loaded beside those that answer, one at a time. One that is taken from the shelf ends when the last request
that uses it does, so that none is dropped.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from thaw.errors import StorageError, ThawError
from thaw.serving.api.contract import Refused
from thaw.serving.loaded import Key, Loaded
from thaw.storage import MissingError

_FAILED_S = 10.0
"""Seconds for which a model that could not be loaded is refused without another try."""

_log = logging.getLogger("thaw.serving")


class Shelf:
    """Loaded models, for one event loop."""

    def __init__(self, open_: Callable[[Key, list[Loaded]], Loaded], most: int) -> None:
        """Begin with none.

        Args:
            open_: loads a model, given those that are loaded; called in a thread.
            most: models to be held; more only while all of them are in use or kept.
        """
        self._open, self._most = open_, most
        self._loaded: dict[Key, Loaded] = {}  # in the order of their last use
        self._loading: dict[Key, asyncio.Task[Loaded]] = {}
        self._failed: dict[Key, tuple[float, Exception]] = {}
        self._kept: frozenset[Key] = frozenset()
        self._loader = ThreadPoolExecutor(1, "load")

    @property
    def keys(self) -> tuple[Key, ...]:
        """What is loaded, the least recently used first."""
        return tuple(self._loaded)

    @property
    def waiting(self) -> int:
        """How many images wait for their turn, in all."""
        return sum(loaded.batcher.waiting for loaded in self._loaded.values())

    def held(self, key: Key) -> Loaded | None:
        """Return a model if it is in memory."""
        return self._loaded.get(key)

    def keep(self, keys: Collection[Key]) -> None:
        """Keep these in memory once they are loaded, whoever else asks; those kept before may go."""
        self._kept = frozenset(keys)
        self._make_room()

    def add(self, loaded: Loaded) -> None:
        """Put a model on the shelf that was loaded elsewhere."""
        self._loaded[loaded.key] = loaded
        self._make_room()

    @asynccontextmanager
    async def lent(self, key: Key) -> AsyncIterator[Loaded]:
        """Give a model for as long as the block runs, and load it first where that is needed.

        Raises:
            Refused: there is none, or it cannot be run here.
        """
        while key not in self._loaded:  # once loaded, it may have made room before this goes on
            await self.load(key)
        loaded = self._loaded[key] = self._loaded.pop(key)  # the most recently used one
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1
            self._make_room()

    async def load(self, key: Key) -> Loaded:
        """Load a model beside the others, unless it is loaded.

        Raises:
            Refused: there is none, or it cannot be run here.
        """
        if key in self._loaded:
            return self._loaded[key]
        self._check_failed(key)
        if key not in self._loading:
            self._loading[key] = asyncio.create_task(self._begin(key))
        return await asyncio.shield(self._loading[key])  # others may wait for it too

    async def _begin(self, key: Key) -> Loaded:
        loop = asyncio.get_running_loop()
        try:
            loaded = await loop.run_in_executor(self._loader, lambda: self._open(key, list(self._loaded.values())))
        except Exception as error:
            _log.warning("%s cannot be loaded: %s", key, error, exc_info=not isinstance(error, ThawError))
            now = time.monotonic()
            self._failed = {other: failed for other, failed in self._failed.items() if failed[0] > now}
            self._failed[key] = (now + _FAILED_S, error.with_traceback(None))
            raise _seen(key, error) from error
        finally:
            del self._loading[key]
        self.add(loaded)
        return loaded

    def _check_failed(self, key: Key) -> None:
        """Refuse what could not be loaded a moment ago, anew: what is raised holds on to the request that met it."""
        until, error = self._failed.get(key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise _seen(key, error) from error

    def _make_room(self) -> None:
        *older, _newest = self.keys or (None,)
        free = [key for key in older if key and not self._loaded[key].users and key not in self._kept]
        for key in free[: max(0, len(self._loaded) - self._most)]:
            self._loaded.pop(key).batcher.close()


def _seen(key: Key, error: Exception) -> Refused:
    """Return how a caller is told that a model is not there; what else was found is for the log."""
    if isinstance(error, MissingError):
        return Refused(404, "no_such_model", f"there is no model {key}")
    if isinstance(error, StorageError):
        return Refused(503, "store_unreachable", f"{key} cannot be read now", retry_after=math.ceil(_FAILED_S))
    return Refused(503, "model_unusable", f"{key} cannot be run here")
