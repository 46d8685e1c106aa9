"""Answering: the endpoint of one process. It decodes in threads, and answers waiting images together, model by model.

It knows nothing of Ray: a replica holds one, and so do tests.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import torch

from thaw import predictor
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.data.preprocess import Preprocess
from thaw.predictor import Placed
from thaw.serving.api.contract import Answered, Asked, Facts, ModelCard, Refused, Seconds
from thaw.serving.batcher import passed
from thaw.serving.directory import Directory
from thaw.serving.loaded import Key, Loaded, Opener
from thaw.serving.shelf import Shelf
from thaw.storage import Root
from thaw.tasks.contract import Answer


class Answering:
    """Answers for the models of a store; the first one is loaded and warmed up when it begins."""

    def __init__(self, root: Root, settings: Serve, key: Key, threads: int) -> None:
        """Load a model.

        Args:
            key: what answers where no model and no version is named.
            threads: for decoding, and for a forward pass on a CPU.

        Raises:
            StorageError: there is no such model, version or artifact.
            ModelError: it cannot be run here, or answers otherwise than when it was made.
        """
        self.settings, self.current = settings, key
        # Decoding first, and one thread an image: what torch is told last is what new threads begin with.
        self._decoders = ThreadPoolExecutor(threads, "decode", partial(torch.set_num_threads, 1))
        self._writer = ThreadPoolExecutor(1, "write")
        self.directory = Directory(root, frozenset({key.name, *settings.models}), settings.follow_seconds)
        opener = Opener(root, settings, threads)
        first = opener(key, [])
        self.shelf = Shelf(opener, settings.max_models)
        self.shelf.add(first)
        self.shelf.keep({key})
        self.answer_types: Mapping[str, type[Answer]] = {
            name: task.answer_type for name, task in first.network.tasks.items()
        }

    @property
    def name(self) -> str:
        """The model that requests mean which name none."""
        return self.current.name

    async def answer(self, asked: Asked) -> Answered:
        """Return every task's answer to one encoded image; decoding and the forward pass leave the event loop free."""
        async with _in_time(asked):
            key = await self.key_of(asked.model, asked.version)
        return await self.answer_by(key, asked)

    async def answer_by(self, key: Key, asked: Asked) -> Answered:
        """Return the answer of a model, whichever the request names."""
        async with _in_time(asked), self.shelf.lent(key) as loaded:
            return await self._answer(loaded, asked)

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        """Return what a model says of itself; it is not loaded for that."""
        key = await self.key_of(name, version)
        held = self.shelf.held(key)
        try:
            versions = await self.directory.versions(key.name)
        except Refused as refused:
            if held is None or refused.status == 404:
                raise
            versions = (key.version,)
        known = held.facts if held else await self.directory.facts(key.name, key.version)
        return known.model_copy(update={"versions": versions, "ready": held is not None})

    async def card(self, name: str | None = None, version: int | None = None) -> ModelCard:
        """Return the card of a model; nothing is loaded for it."""
        key = await self.key_of(name, version)
        return ModelCard(key.name, key.version, await self.directory.card(key.name, key.version))

    async def key_of(self, name: str | None, version: int | None) -> Key:
        """Return which version of which model is meant.

        Raises:
            Refused: there is no such model or version.
        """
        if name in (None, self.name):
            key = self.current if version is None else replace(self.current, version=version)
        else:
            self.directory.check(str(name))
            key = Key(str(name), version or await self.directory.champion(str(name)))
        if version is not None and self.shelf.held(key) is None:
            await self._check_version(key)  # what is not there must not keep the one thread busy that loads
        return key

    async def _check_version(self, key: Key) -> None:
        if key.version not in await self.directory.versions(key.name):
            raise Refused(404, "no_such_model", f"there is no model {key.name}/{key.version}")

    async def _answer(self, loaded: Loaded, asked: Asked) -> Answered:
        here, began = asyncio.get_running_loop(), time.monotonic()
        preprocess = loaded.network.description.preprocess
        with loaded.batcher.admitted(asked.left_s):
            placed = await here.run_in_executor(
                self._decoders, _placed, asked.content, self.settings.limits, preprocess
            )
            decoded = time.monotonic()
            result = await loaded.batcher.ask(placed, asked.deadline)
        found = result.value
        shown = await here.run_in_executor(self._writer, predictor.as_json, found.answers, asked.masks)
        seconds = Seconds(decoded - began, result.queue_s, result.infer_s, result.batch)
        key, tasks = loaded.key, loaded.network.tasks
        return Answered(
            key.name, key.version, asked.request_id, shown, found.answers, tasks, seconds, key.artifact, found.embedding
        )


@asynccontextmanager
async def _in_time(asked: Asked) -> AsyncIterator[None]:
    """Refuse what is not done by the deadline."""
    try:
        async with asyncio.timeout(asked.left_s) as limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise passed() from None
        raise


def _placed(content: bytes, limits: Limits, preprocess: Preprocess) -> Placed:
    return predictor.place(preprocess, quality.decode(content, limits))
