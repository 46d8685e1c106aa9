"""Following: the endpoint of one process, which answers with the versions that the plan says.

A version is loaded beside those that answer, and answers only once it is loaded and has answered its golden images. The
one before it stays, so that going back takes no longer than hearing of it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from thaw.config.serving import Serve
from thaw.data.quality import BadImage
from thaw.errors import StorageError, ThawError
from thaw.predictor import Answers
from thaw.registry import store
from thaw.serving.answering import Answering
from thaw.serving.api.contract import Answered, Asked, Facts, ModelCard, Refused
from thaw.serving.api.problems import seen
from thaw.serving.finite import Finite, NotFiniteError
from thaw.serving.loaded import Key
from thaw.serving.rollout.background import Background, disagreement
from thaw.serving.rollout.control import Beat
from thaw.serving.rollout.counts import Tally
from thaw.serving.rollout.plan import Plan
from thaw.serving.watch.metrics import Metrics
from thaw.storage import MissingError, Root
from thaw.tasks.contract import Answer

_OUTAGE_S = 30.0
"""Seconds for which a store may fail to give a version before that is held against the version."""

_log = logging.getLogger("thaw.serving")


@dataclass(frozen=True)
class _Active:
    """What answers now, and what is counted of it."""

    plan: Plan
    tallies: Mapping[int, Tally] = field(default_factory=dict)

    def tally(self, version: int) -> Tally:
        return self.tallies.get(version) or Tally()


class Following:
    """An `Endpoint` that follows a plan; of other models, and of versions asked for by number, it decides nothing."""

    def __init__(self, answering: Answering, metrics: Metrics) -> None:
        """Begin with the version that is loaded."""
        self._answering, self._metrics = answering, metrics
        self._active = _Active(Plan(answering.name, answering.current.version))
        self._wanted = self._active.plan
        self._before = answering.current
        self._failed: dict[int, str] = {}
        self._hopeless: set[int] = set()
        self._missed: dict[int, float] = {}
        self._loading: set[int] = set()
        self._background = Background(lambda: answering.shelf.waiting > 0)
        self._replica = uuid.uuid4().hex

    @property
    def name(self) -> str:
        """The model that requests mean which name none."""
        return self._answering.name

    @property
    def settings(self) -> Serve:
        """How it answers."""
        return self._answering.settings

    @property
    def answer_types(self) -> Mapping[str, type[Answer]]:
        """Task -> type of its answers."""
        return self._answering.answer_types

    @property
    def plan(self) -> Plan:
        """What is answered by at present."""
        return self._active.plan

    @property
    def replica(self) -> str:
        """What this process is called among replicas."""
        return self._replica

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        """Return what is known of a model."""
        return await self._answering.facts(name, version)

    async def card(self, name: str | None = None, version: int | None = None) -> ModelCard:
        """Return the card of a model."""
        return await self._answering.card(name, version)

    async def answer(self, asked: Asked) -> Answered:
        """Return every task's answer to one encoded image, by the version that the plan says."""
        try:
            if asked.version is not None or asked.model not in (None, self.name):
                answered = await self._answering.answer(asked)
            else:
                answered = await self._by_plan(self._active, asked)
        except asyncio.CancelledError:
            self._metrics.failed(*self._meant(asked), "gone")
            raise
        except Exception as error:
            self._metrics.failed(*self._meant(asked), _kind(error))
            raise
        self._metrics.answered(answered)
        return answered

    async def _by_plan(self, active: _Active, asked: Asked) -> Answered:
        version = active.plan.version_for(asked.route_key)
        if version != active.plan.champion:
            answered = await self._tried(active, version, asked)
            if answered is not None:
                return answered
            version = active.plan.champion
        try:
            answered = await self._answering.answer_by(self._key(version), asked)
        except Exception as error:
            if _is_fault(error) or _is_late(error):
                active.tally(version).failure(_kind(error))
            raise
        self._count(active, answered)
        if active.plan.version_for(asked.route_key) == version:
            self._compare(active, asked, answered)
        return answered

    async def _tried(self, active: _Active, version: int, asked: Asked) -> Answered | None:
        """Return the answer of a version that is tried; None where it has none and the champion is to answer."""
        try:
            answered = await self._answering.answer_by(self._key(version), asked)
        except Exception as error:
            if _is_fault(error):
                self._failure(active, version, error)
                return None
            if isinstance(error, Refused) and error.status == 503:
                return None
            if _is_late(error):  # short deadlines meet the champion as well, and cancel out in what is judged
                active.tally(version).failure(_kind(error))
            raise  # the image is at fault or the time is over, and the champion could do no better
        self._count(active, answered)
        self._compare(active, asked, answered)
        return answered

    def _count(self, active: _Active, answered: Answered) -> None:
        took = answered.seconds
        seconds = took.decode + took.queue + took.infer
        active.tally(answered.version).answer(seconds, _abstained(answered.found))

    def _failure(self, active: _Active, version: int, error: Exception) -> None:
        kind = _kind(error)
        if not active.tally(version).counts().failed.get(kind):
            _log.warning("%s fails to answer; the champion does", self._key(version), exc_info=error)
        active.tally(version).failure(kind)
        self._metrics.failed(self.name, version, kind)

    def _compare(self, active: _Active, asked: Asked, answered: Answered) -> None:
        """Ask another version too, where the plan says so and nothing else is to be done."""
        other = active.plan.other_for(answered.version, asked.request_id)
        if other is None or active.plan.tried is None:
            return
        tried = active.plan.tried.version
        if not self._background.take(partial(self._answer_again, active, asked, answered.found, tried, other)):
            self._metrics.compared(self.name, tried, "dropped")

    async def _answer_again(self, active: _Active, asked: Asked, found: Answers, tried: int, other: int) -> None:
        tally, shadow = active.tally(tried), other == tried
        try:
            async with self._answering.shelf.lent(self._key(other)) as loaded:
                again = await self._background.answer(Finite(loaded.network), asked.content, self.settings.limits)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            if shadow and _is_fault(error):
                self._failure(active, other, error)
            self._metrics.compared(self.name, tried, "failed")
            return
        differed = disagreement(found, again)
        if shadow:
            tally.answer(None, _abstained(again))
        tally.comparison(differed)
        self._metrics.compared(self.name, tried, "compared", differed)

    async def idle(self) -> None:
        """Wait until all that is answered in the background is done."""
        await self._background.idle()

    def beat(self) -> Beat:
        """Return what this process has to tell."""
        active = self._active
        tried = active.plan.tried.id if active.plan.tried else None
        counts = {version: tally.counts() for version, tally in active.tallies.items()}
        return Beat(self._replica, tried, counts, dict(self._failed), active.plan.champion)

    async def told(self, plan: Plan) -> None:
        """Answer by another plan: at once with what is loaded, and with the rest as soon as it is."""
        if plan.name != self.name:
            return
        self._wanted = plan
        self._failed = {version: why for version, why in self._failed.items() if version in plan.versions}
        self._hopeless &= set(plan.versions)
        self._missed = {version: since for version, since in self._missed.items() if version in plan.versions}
        self._settle()
        for version in plan.versions:
            if version not in self._hopeless and version not in self._loading:
                await self._load(version)

    async def _load(self, version: int) -> None:
        if self._key(version) in self._answering.shelf.keys:
            return
        self._loading.add(version)
        try:
            await self._answering.shelf.load(self._key(version))
            self._failed.pop(version, None)
            self._missed.pop(version, None)
        except Refused as refused:
            now, cause = time.monotonic(), refused.__cause__
            if not isinstance(cause, StorageError):
                self._hopeless.add(version)
            outage = isinstance(cause, StorageError) and not isinstance(cause, MissingError)
            if not outage or now - self._missed.setdefault(version, now) >= _OUTAGE_S:
                self._failed[version] = str(cause or refused)
        finally:
            self._loading.discard(version)
        self._settle()

    def _settle(self) -> None:
        """Answer with as much of the plan as is loaded."""
        shelf, wanted, now = self._answering.shelf, self._wanted, self._active.plan
        champion = wanted.champion if self._key(wanted.champion) in shelf.keys else now.champion
        tried = wanted.tried
        if tried is not None and (tried.version == champion or self._key(tried.version) not in shelf.keys):
            tried = None
        plan = replace(wanted, champion=champion, tried=tried)
        if champion != now.champion:
            self._before = self._key(now.champion)
            self._answering.current = self._key(champion)
            _log.warning("%s answers in place of %s", self._key(champion), self._before)
        shelf.keep({self._before, *map(self._key, (*plan.versions, *wanted.versions))})
        if plan != now:
            self._active = _Active(plan, self._tallies(plan))

    def _tallies(self, plan: Plan) -> dict[int, Tally]:
        """Return what plans count in: what was counted in this trial so far goes on."""
        now = self._active.plan.tried
        if plan.tried is None:
            return {}
        known = self._active.tallies if now and now.id == plan.tried.id else {}
        return {version: known.get(version) or Tally() for version in plan.versions}

    def _key(self, version: int) -> Key:
        return replace(self._answering.current, version=version)

    def _meant(self, asked: Asked) -> tuple[str, int]:
        """Return which model is told to have failed; what callers send is no label, unless it is known."""
        known = {(key.name, key.version) for key in self._answering.shelf.keys}
        meant = (asked.model or self.name, asked.version or self._active.plan.champion)
        return meant if meant in known else (self.name, self._active.plan.champion)


def begun(root: Root, settings: Serve, key: Key, alias: str | None, threads: int) -> Answering:
    """Return what answers in a new process: by what the alias points at now, else by the version that is given.

    Args:
        key: what the endpoint began with, which could be loaded then.
        alias: None for this version alone.
        threads: for decoding, and for a forward pass on a CPU.

    Raises:
        ThawError: it cannot be loaded now.
    """
    try:
        now = store.aliases(root, key.name).get(alias or "", key.version)
        return Answering(root, settings, replace(key, version=now), threads)
    except ThawError as error:
        _log.warning("%s@%s cannot answer here, so %s does: %s", key.name, alias, key, error)
        return Answering(root, settings, key, threads)


def _is_fault(error: Exception) -> bool:
    """Return whether the model is at fault, and not the image, the deadline or how many ask."""
    return not isinstance(error, (Refused, BadImage))


def _is_late(error: Exception) -> bool:
    """Return whether the answer was not there by its deadline, whoever's fault that is."""
    return isinstance(error, Refused) and error.status == 504


def _kind(error: Exception) -> str:
    if isinstance(error, NotFiniteError):
        return "not_finite"
    return "model_error" if _is_fault(error) else seen(error).error


def _abstained(found: Answers) -> float:
    return sum(answer.abstained() for answer in found.values()) / max(1, len(found))
