"""Guarding: what a replica guards and remembers, made of its settings: keys, the log of answers, and feedback."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from thaw.config.serving import Serve
from thaw.registry import store
from thaw.serving import audit
from thaw.serving.api.admin import Promote
from thaw.serving.api.contract import Endpoint
from thaw.serving.api.feedback import Keep
from thaw.serving.keys import Keyring
from thaw.serving.watch import feedback
from thaw.serving.watch.log import PredictionLog
from thaw.serving.watch.metrics import Metrics
from thaw.serving.watch.watched import Watched
from thaw.storage import Root


@dataclass(frozen=True)
class Guarding:
    """What one replica has beside what answers.

    Attributes:
        keyring: whose keys are asked for; None lets everybody ask.
        log: None where no answer is kept.
        keep: what keeps feedback.
        promote: what moves the alias that is followed; None where there is none.
    """

    keyring: Keyring | None
    log: PredictionLog | None
    keep: Keep
    promote: Promote | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, root: Root, settings: Serve, name: str, counted: Metrics, alias: str | None = None) -> Self:
        """Begin to follow the keys of a store and to log, as far as settings say so.

        Args:
            name: of the model that is answered for beside ``serve.models``.
            counted: is told what is logged.
            alias: that is followed.

        Raises:
            StorageError: the keys cannot be read.
        """
        made = cls(
            keyring=Keyring(root) if settings.asks_for_keys else None,
            log=PredictionLog(root, settings.log, settings.limits, {name, *settings.models}, counted.logged)
            if settings.log.share
            else None,
            keep=partial(feedback.keep, root),
            promote=partial(_promoted, root, name, alias) if alias else None,
        )
        if made.keyring:
            made._again(made.keyring.refresh, settings.follow_seconds)
        return made

    def watched(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint whose answers are logged, where they are to be."""
        return Watched(endpoint, self.log) if self.log else endpoint

    def close(self) -> None:
        """Write what waits to be logged, and end."""
        self._stopped.set()
        if self.log:
            self.log.close()

    def _again(self, step: Callable[[], None], seconds: float) -> None:
        def run() -> None:
            while not self._stopped.wait(seconds):
                step()

        threading.Thread(target=run, name="keys", daemon=True).start()


def _promoted(root: Root, name: str, alias: str, version: int, by: str) -> tuple[str, int | None]:
    before = store.set_alias(root, name, alias, version)
    audit.note("promote", by, model=name, alias=alias, version=version, before=before)
    return alias, before
