"""Directory: which models and versions may be asked for, as the store has them, looked up again every few seconds."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from thaw import bundle
from thaw.bundle import Description
from thaw.errors import StorageError
from thaw.evaluation import card
from thaw.registry import store
from thaw.serving.api.contract import Facts, Refused, facts_of
from thaw.storage import MissingError, Root
from thaw.tasks.contract import Task

_NOTHING = object()
_PATIENCE_S = 2.0
"""Seconds for which a store is waited for where it is known what it said before."""
_T = TypeVar("_T")

_log = logging.getLogger("thaw.serving")


class Directory:
    """The models of one store that an endpoint answers for."""

    def __init__(self, root: Root, names: frozenset[str], follow_seconds: float) -> None:
        """Begin with nothing looked up."""
        self._root, self._names, self._follow_seconds = root, names, follow_seconds
        self._known: dict[tuple[str, str], tuple[float, object]] = {}
        self._looking: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._reader = ThreadPoolExecutor(1, "directory")

    def check(self, name: str) -> None:
        """Refuse a model that is not answered for.

        Raises:
            Refused: it is none.
        """
        if name not in self._names:
            raise Refused(
                404, "no_such_model", f"there is no model {name[:64]!r}; there are {', '.join(sorted(self._names))}"
            )

    async def champion(self, name: str) -> int:
        """Return the version of a model that answers where none is named.

        Raises:
            Refused: it has none, or the store does not answer.
        """
        self.check(name)
        return await self._looked_up("champion", name, lambda: store.resolve(self._root, name).version)

    async def versions(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model.

        Raises:
            Refused: there is no such model, or the store does not answer.
        """
        self.check(name)
        return await self._looked_up("versions", name, lambda: tuple(store.versions(self._root, name)))

    async def card(self, name: str, version: int) -> str:
        """Return the card of a version, as Markdown.

        Raises:
            Refused: there is no such version, it has no card, or the store does not answer.
        """
        self.check(name)
        model = f"{name}/{version}"
        text = await self._looked_up("card", model, lambda: card.read(self._root, store.resolve(self._root, model)))
        if text is None:
            raise Refused(404, "no_card", f"{model} has no model card; `thaw evaluate` writes one")
        return text

    async def facts(self, name: str, version: int) -> Facts:
        """Return what a version of a model says of itself, without its weights.

        Raises:
            Refused: there is no such version, or the store does not answer.
        """
        self.check(name)
        return await self._looked_up(f"facts of {version}", name, lambda: _facts(self._root, name, version))

    async def _looked_up(self, what: str, name: str, look: Callable[[], _T]) -> _T:
        """Return what a look into the store gives, or gave before where the store does not answer now.

        Those who want the same at the same time share one look.
        """
        key = what, name
        until, value = self._known.get(key, (0.0, _NOTHING))
        if time.monotonic() < until:
            return value  # type: ignore[return-value]
        if key not in self._looking:
            self._looking[key] = asyncio.create_task(self._look(key, look))
            self._looking[key].add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(None if value is _NOTHING else _PATIENCE_S):
                found: _T = await asyncio.shield(self._looking[key])
                return found
        except (Refused, TimeoutError):
            if key not in self._known:
                raise
            value = self._known[key][1]
            self._known[key] = (time.monotonic() + self._follow_seconds, value)
            return value  # type: ignore[return-value]

    async def _look(self, key: tuple[str, str], look: Callable[[], object]) -> object:
        here = asyncio.get_running_loop()
        try:
            found = await here.run_in_executor(self._reader, look)
        except MissingError:
            self._known.pop(key, None)
            raise Refused(404, "no_such_model", f"there is no such version of model {key[1]!r}") from None
        except (StorageError, ValidationError) as error:
            _log.warning("%s of model %s cannot be read: %s", *key, error)
            raise Refused(503, "store_unreachable", f"model {key[1]!r} cannot be looked up", retry_after=1) from None
        finally:
            del self._looking[key]
        self._known[key] = (time.monotonic() + self._follow_seconds, found)
        return found


@dataclass(frozen=True)
class _Described:
    description: Description
    tasks: Mapping[str, Task]


def _facts(root: Root, name: str, version: int) -> Facts:
    found = store.resolve(root, f"{name}/{version}")
    described = Description.model_validate(root.read_json(f"{found.path}/{bundle.DESCRIPTION}"))
    tasks = bundle.build_tasks(described.tasks, described.labels, described.answering)
    return facts_of(name, version, _Described(described, tasks))
