"""Answerer: a process that answers parts of a folder one after another, with a network that it loads once.

While the network answers a batch, threads read and decode the images of the next ones.
"""

import json
import platform
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch

from thaw import predictor
from thaw.backends.load import load
from thaw.config.limits import Limits
from thaw.data import quality
from thaw.data.files import open_folder
from thaw.errors import StorageError
from thaw.evaluation.predicting import part
from thaw.evaluation.predicting.part import Counted
from thaw.predictor import Placed
from thaw.registry.store import ModelVersion
from thaw.storage import Root

Given = TypeVar("Given")
Made = TypeVar("Made")

_AHEAD = 2
"""Batches that are decoded ahead of the network."""


@dataclass(frozen=True)
class Asked:
    """What is asked of every process alike; plain data.

    Attributes:
        root: the storage root.
        found: the version that answers, or the one whose artifact does.
        identity: what tells what answers from all others.
        folder: URI of the images.
        out: where parts are written.
        batch: images in a forward pass.
        threads: that read, decode and, on CPUs, compute.
    """

    root: Root
    found: ModelVersion
    artifact: str | None
    identity: str
    folder: str
    out: Root
    limits: Limits
    batch: int
    device: str
    threads: int

    @property
    def model(self) -> str:
        """What answers, in words."""
        return f"{self.found.name}/{self.found.version}" + (f" as {self.artifact}" if self.artifact else "")


class Answerer:
    """What answers parts."""

    def __init__(self, asked: Asked) -> None:
        """Load the network.

        Raises:
            StorageError: the version has no such artifact, or this node does not see the images.
            ModelError: it cannot be read or run here, or answers otherwise than when it was made.
        """
        torch.set_num_threads(asked.threads)
        self._asked, self._folder = asked, open_folder(asked.folder)
        if self._folder.root.is_local and not self._folder.is_folder(""):
            raise StorageError(
                f"{asked.folder}: not there on {platform.node()}; give a path or URI that every node reaches"
            )
        self._network = load(asked.root, asked.found, asked.artifact, asked.device)

    def part(self, bits: str, images: Sequence[str]) -> Counted:
        """Answer some images, unless a part says so already, and return what the part holds.

        Raises:
            StorageError: a store does not answer.
        """
        asked = self._asked
        made_of = part.mark(asked.identity, asked.limits, images, self._folder.stamps(images))
        return part.kept(asked.out, bits, made_of) or self._answered(bits, made_of, images)

    def _answered(self, bits: str, made_of: str | None, images: Sequence[str]) -> Counted:
        answers: dict[str, str] = {}
        refused: dict[str, tuple[str, str]] = {}
        waiting: dict[str, Placed] = {}
        with ThreadPoolExecutor(self._asked.threads) as pool:
            seen = _in_order(pool, self._placed, images, _AHEAD * self._asked.batch)
            for image, one in zip(images, seen, strict=True):
                if isinstance(one, Placed):
                    waiting[image] = one
                else:
                    refused[image] = one
                if len(waiting) == self._asked.batch:
                    answers |= self._answer(waiting)
                    waiting = {}
        return part.write(self._asked.out, bits, made_of, answers | self._answer(waiting), refused)

    def _answer(self, waiting: dict[str, Placed]) -> dict[str, str]:
        given = predictor.answer_placed(self._network, list(waiting.values()))
        return {image: json.dumps(predictor.as_json(one)) for image, one in zip(waiting, given, strict=True)}

    def _placed(self, image: str) -> Placed | tuple[str, str]:
        """Return an image as the network sees it, or why it is no usable image."""
        limits = self._asked.limits
        try:
            decoded = quality.decode(self._folder.read(image, limits.max_bytes + 1), limits)
        except OSError as error:
            return part.UNREADABLE, f"unreadable: {error.strerror}"
        except quality.BadImage as error:
            return error.reason, str(error)
        return predictor.place(self._network.description.preprocess, decoded)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Given], Made], given: Sequence[Given], most: int
) -> Iterator[Made]:
    """Yield what threads make of each, in order, with ``most`` of them begun ahead: what is decoded takes memory."""
    rest = iter(given)
    begun: deque[Future[Made]] = deque(pool.submit(make, one) for one in islice(rest, most))
    while begun:
        yield begun.popleft().result()
        begun.extend(pool.submit(make, one) for one in islice(rest, 1))
