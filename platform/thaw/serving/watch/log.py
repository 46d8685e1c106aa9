"""Log: some answers, by model and day, as Parquet files in the store.

Keeping never makes an answer wait: `PredictionLog.offer` hands over what there is and returns, and a thread makes rows
of it and writes them. What waits, or could not be written yet, has a bound; beyond it answers are left out and counted.
"""

import hashlib
import io
import json
import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thaw import predictor
from thaw.config.experiment import Limits
from thaw.config.watch import PredictionLog as Settings
from thaw.data import logged, quality
from thaw.data.quality import BadImage
from thaw.errors import StorageError
from thaw.predictor import Answers
from thaw.storage import Root

FILE_BYTES = 8 * 2**20
"""About how large a file becomes before it is written."""
FILE_S = 60.0
"""After how long it is written, however small: what is lost where a process is killed."""
MOST_BYTES = 64 * 2**20
"""Most that waits to be written."""
_ROW_BYTES = 512
"""What a row takes beside its image, answer and embedding."""
_QUALITY = 80
_LOOK_S = 5.0
"""How often pages are looked through where nothing comes."""
_RETRY_S = 15.0
"""How long a store that refused a page is let alone."""

_told = logging.getLogger("thaw.serving")


@dataclass(frozen=True)
class Seen:
    """One answer that was given.

    Attributes:
        image: as it was sent.
        embedding: (D,), where the bundle gave it.
    """

    request_id: str
    model: str
    version: int
    artifact: str | None
    answers: Answers
    image: bytes
    embedding: NDArray[np.float16] | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class _Page:
    """Rows that become one file."""

    begun: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0
    not_before: float = -math.inf
    """When the store is asked again that has refused it."""

    def due(self, now: float) -> bool:
        """Return whether it is large or old enough to be written."""
        return now >= self.not_before and (self.bytes >= FILE_BYTES or now - self.begun >= FILE_S)


class PredictionLog:
    """What one replica keeps."""

    def __init__(
        self,
        root: Root,
        settings: Settings,
        limits: Limits,
        models: Collection[str],
        count: Callable[[str, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            models: whose old days are removed; others of the store may be kept for longer.
            count: is told how many answers were ``kept``, and how many ``dropped``: they found no room, or were lost
                because the store took nothing until the end.
        """
        self._root, self._settings, self._limits, self._clock = root, settings, limits, clock
        self._models, self._count = models, count
        self._name, self._files = uuid.uuid4().hex[:12], 0
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Seen, int]] = deque()
        self._held, self._closing = 0, False
        self._pages: dict[tuple[str, date], _Page] = {}
        self._removed: date | None = None
        self._not_before = -math.inf
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        self._thread.start()

    def wants(self, request_id: str) -> bool:
        """Return whether the answer to a request is among those to keep; the same at every replica."""
        digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._settings.share * 2**64

    def offer(self, seen: Seen) -> None:
        """Keep an answer where there is room; it costs the caller no more than noting it down."""
        size = self._size(seen)
        with self._changed:
            if self._closing or self._held + size > MOST_BYTES:
                self._count("dropped", 1)
                return
            self._waiting.append((seen, size))
            self._held += size
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits and end; what cannot be written in time is dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _size(self, seen: Seen) -> int:
        image = 0 if self._settings.image == "none" else len(seen.image)
        return _ROW_BYTES + image + _nbytes(seen.embedding)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, timeout=_LOOK_S)
                taken, closing = list(self._waiting), self._closing
                self._waiting.clear()
            for seen, size in taken:
                self._guarded(self._enter, seen, size)
            self._guarded(self._write, closing)
            self._guarded(self._remove_old)
            if closing:
                break

    def _guarded(self, step: Callable[..., None], *given: Any) -> None:
        """Take a step; a fault in one, such as too little memory, must not end all others."""
        try:
            step(*given)
        except Exception:  # noqa: BLE001
            _told.exception("prediction log: a step failed")

    def _enter(self, seen: Seen, size: int) -> None:
        """Write a row down where it still has room; ``size`` is what was held for it so far."""
        try:
            row = self._row(seen)
        except Exception:
            with self._changed:
                self._held -= size
            self._count("dropped", 1)
            raise
        now = _ROW_BYTES + len(row["image"] or b"") + len(row["answer"]) + _nbytes(seen.embedding)
        with self._changed:
            fits = self._held + now - size <= MOST_BYTES  # an answer is longer than was known when it was offered
            self._held += (now if fits else 0) - size
        if not fits:
            self._count("dropped", 1)
            return
        page = self._pages.setdefault((seen.model, seen.time.date()), _Page(self._clock()))
        page.rows.append(row)
        page.bytes += now
        if page.due(self._clock()):
            self._write(closing=False)

    def _row(self, seen: Seen) -> dict[str, Any]:
        whole = self._settings.image == "full"
        return {
            "time": seen.time,
            "request_id": seen.request_id,
            "version": seen.version,
            "artifact": seen.artifact,
            "answer": json.dumps(predictor.as_json(seen.answers, "none")),
            "decided": decided(seen.answers),
            "image": seen.image if whole else self._thumbnail(seen.image),
            "whole": whole,
            "embedding": seen.embedding,
        }

    def _thumbnail(self, image: bytes) -> bytes | None:
        """Return a small JPEG of an image that was decoded once before, where one is asked for."""
        if self._settings.image != "thumbnail":
            return None
        try:
            small = Image.fromarray(quality.decode(image, self._limits))
        except BadImage:
            return None
        small.thumbnail((self._settings.thumbnail,) * 2, Image.Resampling.LANCZOS, reducing_gap=2.0)
        content = io.BytesIO()
        small.save(content, "JPEG", quality=_QUALITY)
        return content.getvalue()

    def _write(self, closing: bool) -> None:
        """Publish the pages that are full or old; one that the store does not take waits for the next time."""
        for (model, day), page in list(self._pages.items()):
            if not (closing or page.due(self._clock())):
                continue
            path = f"{logged.LOG}/{model}/{day}/{self._name}-{self._files}.parquet"
            try:
                self._root.write_bytes(path, logged.written(page.rows, logged.ANSWERS))
            except StorageError as error:
                _told.warning("prediction log: %s", error)
                page.not_before = self._clock() + _RETRY_S
                if closing:
                    self._count("dropped", len(page.rows))
                continue
            except Exception:  # noqa: BLE001 - rows that cannot be written now never can
                _told.exception("prediction log: %s rows are dropped", len(page.rows))
                outcome = "dropped"
            else:
                self._files += 1
                outcome = "kept"
            del self._pages[model, day]
            with self._changed:
                self._held -= page.bytes
            self._count(outcome, len(page.rows))

    def _remove_old(self) -> None:
        """Remove old days once a day; where the store refuses, again a while later."""
        today = datetime.now(UTC).date()
        if self._removed == today or self._clock() < self._not_before:
            return
        self._not_before = self._clock() + _RETRY_S
        try:
            remove_before(self._root, self._models, today - timedelta(days=self._settings.days))
            self._removed = today
        except StorageError as error:
            _told.warning("prediction log: %s", error)


def decided(answers: Answers) -> list[dict[str, str | float]]:
    """Return what answers come to, as a cell of the log."""
    return [
        {"task": task, "label": label, "score": score}
        for task, answer in answers.items()
        for label, score in answer.decided()
    ]


def _nbytes(embedding: NDArray[np.float16] | None) -> int:
    return 0 if embedding is None else embedding.nbytes


def remove_before(root: Root, models: Collection[str], first: date) -> None:
    """Remove what was kept of answers of some models, and said of them, before a day; other folders are let alone."""
    for place in (logged.LOG, logged.FEEDBACK):
        for model in models:
            for day in logged.days(root, place, model):
                if day < first:
                    root.remove(f"{place}/{model}/{day}")
