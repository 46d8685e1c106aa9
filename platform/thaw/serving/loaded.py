"""Loaded: one version of a model in memory, ready to answer, with its queue and its threads."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from thaw import bundle, golden, predictor
from thaw.backends.load import load
from thaw.bundle import Bundle
from thaw.config.serving import Serve
from thaw.console import say
from thaw.data.placement import Placement
from thaw.predictor import Answers, Backend, Embedder, Placed
from thaw.registry import store
from thaw.registry.store import ModelVersion
from thaw.serving.api.contract import Facts, facts_of
from thaw.serving.batcher import Batcher, best_batch, measured
from thaw.serving.finite import Finite, FiniteBundle
from thaw.serving.tuning import InBf16, plain, tuned
from thaw.storage import Root, local_cache

_log = logging.getLogger("thaw.serving")

_MOST_LANES = 4
"""Most forward passes of a model at the same time in one process, which take turns with Python's lock; a choice: more
than two have not been measured."""


@dataclass(frozen=True)
class Key:
    """What is loaded: a version of a model, or what was exported of it."""

    name: str
    version: int
    artifact: str | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.version}{f' ({self.artifact})' if self.artifact else ''}"


class Found(NamedTuple):
    """What is computed of an image: the answers, and its (D,) pooled vector where that is asked for."""

    answers: Answers
    embedding: NDArray[np.float16] | None = None


@dataclass(eq=False)
class Loaded:
    """A model that answers.

    Attributes:
        users: how many requests use it now.
    """

    key: Key
    network: Backend
    batcher: Batcher[Placed, Found]
    users: int = field(default=0, init=False)

    @property
    def facts(self) -> Facts:
        """What it says of itself."""
        return facts_of(self.key.name, self.key.version, self.network, self.key.artifact)

    @property
    def base(self) -> str | None:
        """Which weights lie beneath its adapters, if it has any."""
        of = plain(self.network)
        return bundle.base_key(of) if of else None


class Opener:
    """Opens versions of models out of a store, warmed up."""

    def __init__(self, root: Root, settings: Serve, threads: int) -> None:
        """Remember how; ``threads`` are those of a forward pass on a CPU."""
        self._root, self._settings, self._threads = root, settings, threads

    def __call__(self, key: Key, others: list[Loaded]) -> Loaded:
        """Return a model that has answered its golden images, and a batch of every size.

        Args:
            others: what is loaded already; adapters of the same weights share them.

        Raises:
            StorageError: there is no such model, version or artifact.
            ModelError: it cannot be run here, or answers otherwise than when it was made.
        """
        torch.set_num_threads(self._threads)
        found = store.resolve(self._root, f"{key.name}/{key.version}")
        network = load(self._root, found, key.artifact, "cuda" if self._settings.gpus else "cpu")
        _share(network, others)
        network = self._tuned(network, found)
        most = self._batch(network)
        _log.info("%s is loaded; up to %d images go together", key, most)
        return Loaded(key, network, self._batcher(network, most, str(key)))

    def _tuned(self, network: Backend, found: ModelVersion) -> Backend:
        """Return a network as the settings ask for it, and tell what that changes."""
        made = tuned(network, self._settings)
        if made is not network:
            off = golden.check(made, store.fetch(self._root, found, local_cache()), math.inf)
            told = "nobody knows by how much" if off is None else f"by {off:.4f} at most on its golden images"
            say(f"{found.name}/{found.version} differs from what was scored, {told}: see serve.precision")
        return made

    def _batch(self, network: Backend) -> int:
        """Return how many images are best answered together here."""
        target_s = None if self._settings.latency_target_ms is None else self._settings.latency_target_ms / 1000
        torch.set_num_threads(self._threads // self._lanes(network))  # as it will be when many ask
        run = partial(_answer_blanks, network)
        return best_batch(measured(run, self._settings.max_batch, target_s), target_s)

    def _batcher(self, network: Backend, most: int, name: str) -> Batcher[Placed, Found]:
        settings = self._settings
        embeds = settings.log.share > 0 and settings.log.embedding
        if embeds and isinstance(network, Bundle | InBf16):
            work = partial(_each, partial(_embed, FiniteBundle(network)))
        else:
            work = partial(_each, partial(_answer, Finite(network)))
        room = max(settings.max_queued, settings.max_images) + most  # one request may bring as many as it is allowed
        wait_s, lanes = settings.batch_wait_ms / 1000, self._lanes(network)
        begin = partial(torch.set_num_threads, self._threads // lanes)  # each thread of a process has its own number
        return Batcher(work, most, room, wait_s, f"forward {name}", lanes, begin)

    def _lanes(self, network: Backend) -> int:
        """Return how many forward passes may go on at the same time, each on its share of the cores.

        On CPUs several answer more than one on all cores, which waits at every layer for its slowest thread while
        decoding takes cores away. What is compiled keeps its number of threads; what is exported has its own.
        """
        alone = self._settings.gpus or self._settings.compile or plain(network) is None
        return 1 if alone else min(self._threads, _MOST_LANES)


def _answer(network: Backend, placed: list[Placed]) -> list[Found]:
    return [Found(answers) for answers in predictor.answer_placed(network, placed)]


def _embed(network: Embedder, placed: list[Placed]) -> list[Found]:
    return [Found(*found) for found in predictor.answer_and_embed(network, placed)]


def _each(answer: Callable[[list[Placed]], list[Found]], placed: list[Placed]) -> Sequence[Found | BaseException]:
    """Return the answers, or what was wrong: of images that came together none is to fail because of another."""
    try:
        return answer(placed)
    except Exception as error:  # noqa: BLE001 - it is told to whoever asked
        return [error] if len(placed) == 1 else [_each(answer, [one])[0] for one in placed]


def _answer_blanks(network: Backend, size: int) -> None:
    side = network.description.preprocess.size
    blank = Placed(torch.zeros(3, side, side, dtype=torch.uint8), Placement.unchanged(side))
    predictor.answer_placed(network, [blank] * size)


def _share(network: Backend, others: list[Loaded]) -> None:
    """Let adapters use the weights of others that adapt the same ones."""
    if not isinstance(network, Bundle) or (base := bundle.base_key(network)) is None:
        return
    for other in others:
        if other.base == base and (of := plain(other.network)):
            bundle.share_base(network, of)
            return
