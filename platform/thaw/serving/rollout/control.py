"""Control: follows an alias in the store, hears what replicas have counted, and takes back what is not good enough.

It knows nothing of Ray: a deployment of one replica holds it (see `thaw.serving.on_ray`), and so do tests. Counts are
those of the replicas themselves, so that nothing is lost where it is begun anew.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from thaw.config.rollout import Rollout
from thaw.console import say
from thaw.errors import StorageError
from thaw.registry import store
from thaw.registry.record import utc_now
from thaw.serving import audit
from thaw.serving.rollout import bounds, kept
from thaw.serving.rollout.counts import Counts, total
from thaw.serving.rollout.kept import Outcome, Record, UnreadableError
from thaw.serving.rollout.plan import Plan, Tried
from thaw.serving.watch.metrics import Family, counter, gauge
from thaw.storage import Root

_RECORD_S = 10.0
"""Seconds between two records of a trial that goes on, for `thaw rollout --status`."""
_SILENT_S = 60.0
"""Seconds after which a replica that was not heard of does not count for what can be loaded."""


@dataclass(frozen=True)
class Beat:
    """What a replica tells.

    Attributes:
        replica: another one each time that a process begins.
        tried: id of the trial that counts are of; None where nothing is tried.
        counts: version -> all that was seen of it in this trial.
        failed: version -> why it could not be loaded.
        champion: the version that answers there but for what is tried.
    """

    replica: str
    tried: str | None = None
    counts: Mapping[int, Counts] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    champion: int | None = None


class Control:
    """Decides for one model which versions its replicas answer with."""

    def __init__(self, root: Root, name: str, alias: str, settings: Rollout) -> None:
        """Begin with nothing known; `step` reads the store."""
        self.name = name
        self._root, self._alias, self._settings = root, alias, settings
        self._beats: dict[str, Beat] = {}
        self._heard: dict[str, float] = {}
        self._ended: set[str] = set()
        self._unwritten: dict[str, Record] = {}
        self._unusable: set[int] = set()
        self._recorded = 0.0
        self._silent = ""
        self.plan: Plan | None = None
        self._taken_back = 0

    def heard(self, beat: Beat) -> Plan | None:
        """Take in what a replica tells, and return the plan; None as long as the store was not read."""
        self._beats[beat.replica], self._heard[beat.replica] = beat, time.monotonic()
        return self.plan

    def families(self) -> list[Family]:
        """Return metrics of what is decided here."""
        labels = {"model": self.name}
        found = [counter("thaw_rollbacks", "Versions that were taken back by themselves.", labels, self._taken_back)]
        if self.plan is not None:
            found.append(gauge("thaw_champion_version", "Version that answers.", labels, self.plan.champion))
            found += [_share(labels, self.plan.tried)] if self.plan.tried else []
        return found

    def step(self) -> None:
        """Look at the store, judge and decide. Without the store, what it said last is judged and decided on."""
        said: list[str] = []
        plan = self.plan
        try:
            plan = self._looked(said)
        except StorageError as error:
            said.append(str(error))
        if plan is not None:
            try:
                self.plan = self._judged(plan)
            except StorageError as error:
                said.append(str(error))
        self._complain(said[0] if said else "")

    def _looked(self, said: list[str]) -> Plan:
        """Return what the store says; an alias is followed even where what is tried cannot be read, which is said.

        Raises:
            StorageError: it does not answer, or has no such alias, as one that was unplugged.
        """
        champion = store.aliases(self._root, self.name).get(self._alias)
        if champion is None:
            raise StorageError(f"{self._root}: model {self.name!r} has no alias {self._alias!r}")
        try:
            tried = kept.read(self._root, self.name)
        except UnreadableError as error:
            said.append(str(error))
            tried = None
        if tried is None or tried.alias != self._alias:
            return Plan(self.name, champion)
        return Plan(self.name, champion, tried, self._bounds(tried).compared)

    def _judged(self, plan: Plan) -> Plan:
        """Return what of a plan is good enough to go on."""
        self._tell_unusable(plan.champion)
        if plan.tried is not None and not self._goes_on(plan.tried, plan.champion):
            plan = Plan(self.name, plan.champion)
        self._write()
        return plan

    def _complain(self, why: str) -> None:
        if why and why != self._silent:
            say(f"{why}; what answers now goes on")
        self._silent = why

    def _goes_on(self, tried: Tried, champion: int) -> bool:
        """Return whether a version is still to be tried; end the trial where it is not."""
        if tried.id in self._ended:
            kept.end(self._root, self.name, tried)
            return False
        if tried.version == champion:
            kept.finish(self._root, self.name, "promoted", tried.id)
            return False
        beats = [beat for beat in list(self._beats.values()) if beat.tried == tried.id]
        known = tuple(total(beat.counts.get(one, Counts()) for beat in beats) for one in (tried.version, champion))
        outcome, reasons = self._found(tried, *known)
        record = self._record(tried, champion, known, outcome, reasons)
        if outcome == "running":
            self._note(record)
            return True
        self._end(tried, record)
        return False

    def _found(self, tried: Tried, seen: Counts, usual: Counts) -> tuple[Outcome, tuple[str, ...]]:
        failed = self._failed(tried.version)
        if failed:
            return "not_loaded", failed
        crossed = bounds.judge(usual, seen, self._bounds(tried), tried.kind == "canary")
        return ("rolled_back", tuple(map(str, crossed))) if crossed else ("running", ())

    def _end(self, tried: Tried, record: Record) -> None:
        """End a trial here and now; the store hears of it as soon as it can."""
        self._ended.add(tried.id)
        self._unwritten[record.id] = record
        if self.plan is not None:
            self.plan = Plan(self.name, self.plan.champion)
        self._taken_back += 1
        say(f"{self.name}/{tried.version} is taken back ({record.outcome}): {'; '.join(record.reasons)}")
        audit.note(f"rollout.{record.outcome}", "thaw", model=self.name, version=tried.version, alias=tried.alias)
        kept.end(self._root, self.name, tried)

    def _note(self, record: Record) -> None:
        if time.monotonic() - self._recorded > _RECORD_S:
            kept.write(self._root, record)
            self._recorded = time.monotonic()

    def _record(
        self, tried: Tried, champion: int, known: tuple[Counts, ...], outcome: Outcome, reasons: tuple[str, ...]
    ) -> Record:
        versions = (tried.version, champion)
        return Record(
            id=tried.id,
            model=self.name,
            version=tried.version,
            champion=champion,
            alias=tried.alias,
            kind=tried.kind,
            share=tried.share,
            bounds=self._bounds(tried).model_dump(mode="json"),
            started=tried.started,
            ended=None if outcome == "running" else utc_now(),
            outcome=outcome,
            reasons=reasons,
            figures=tuple(kept.figures(*one) for one in zip(versions, known, strict=True)),
        )

    def _tell_unusable(self, champion: int) -> None:
        """Keep why replicas do not answer with the version that the alias was moved to."""
        failed = self._failed(champion)
        if not failed:
            self._unusable.discard(champion)
        elif champion not in self._unusable:
            self._unusable.add(champion)
            say(f"{self.name}/{champion} cannot be loaded, so what answered before goes on: {'; '.join(failed)}")
            now = utc_now()
            record = Record(
                id=kept.new_id(champion),
                model=self.name,
                version=champion,
                champion=self._goes_on_with(champion),
                alias=self._alias,
                kind="alias",
                share=1.0,
                started=now,
                ended=now,
                outcome="not_loaded",
                reasons=failed,
            )
            self._unwritten[record.id] = record

    def _failed(self, version: int) -> tuple[str, ...]:
        since = time.monotonic() - _SILENT_S
        beats = [beat for name, beat in list(self._beats.items()) if self._heard[name] > since]
        every = (beat.failed[version] for beat in beats if version in beat.failed)
        return tuple(dict.fromkeys(every))

    def _goes_on_with(self, version: int) -> int:
        """Return which version answers where this one cannot be loaded."""
        beats = [beat for beat in list(self._beats.values()) if version in beat.failed]
        return next((beat.champion for beat in beats if beat.champion is not None), version)

    def _bounds(self, tried: Tried) -> Rollout:
        return Rollout.model_validate({**self._settings.model_dump(), **tried.bounds})

    def _write(self) -> None:
        for name, record in list(self._unwritten.items()):
            kept.write(self._root, record)
            del self._unwritten[name]


def _share(labels: Mapping[str, str], tried: Tried) -> Family:
    of = {**labels, "version": str(tried.version), "kind": tried.kind}
    return gauge("thaw_tried_share", "Share of requests that a version is tried on.", of, tried.share)
