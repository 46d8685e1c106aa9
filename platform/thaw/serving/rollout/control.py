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
from thaw.serving.rollout import bounds, kept
from thaw.serving.rollout.counts import Counts, total
from thaw.serving.rollout.kept import Outcome, Record
from thaw.serving.rollout.plan import Plan, Tried
from thaw.storage import Root

_RECORD_S = 10.0
"""Seconds between two records of a trial that goes on, for `thaw rollout --status`."""


@dataclass(frozen=True)
class Beat:
    """What a replica tells.

    Attributes:
        replica: another one each time that a process begins.
        tried: id of the trial that counts are of; None where nothing is tried.
        counts: version -> all that was seen of it in this trial.
        failed: version -> why it could not be loaded.
    """

    replica: str
    tried: str | None = None
    counts: Mapping[int, Counts] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)


class Control:
    """Decides for one model which versions its replicas answer with."""

    def __init__(self, root: Root, name: str, alias: str, settings: Rollout) -> None:
        """Begin with nothing known; `step` reads the store."""
        self._root, self._name, self._alias, self._settings = root, name, alias, settings
        self._beats: dict[str, Beat] = {}
        self._ended: set[str] = set()
        self._unwritten: dict[str, Record] = {}
        self._unusable: set[int] = set()
        self._recorded = 0.0
        self._silent = ""
        self.plan: Plan | None = None
        self.taken_back = 0

    def heard(self, beat: Beat) -> Plan | None:
        """Take in what a replica tells, and return the plan; None as long as the store was not read."""
        self._beats[beat.replica] = beat
        return self.plan

    def step(self) -> None:
        """Look at the store, judge and decide. It reads and writes files; a store that does not answer changes nothing."""
        try:
            self._step()
            self._silent = ""
        except StorageError as error:
            if str(error) != self._silent:
                say(f"{self._name}: {error}; what answers now goes on")
                self._silent = str(error)

    def _step(self) -> None:
        self._write()
        champion = store.aliases(self._root, self._name).get(self._alias, self.plan.champion if self.plan else None)
        if champion is None:
            return
        tried = kept.read(self._root, self._name)
        if tried is not None and (tried.alias != self._alias or not self._goes_on(tried, champion)):
            tried = None
        self.plan = Plan(self._name, champion, tried, self._bounds(tried).compared if tried else 0.0)
        self._tell_unusable(champion)
        self._write()

    def _goes_on(self, tried: Tried, champion: int) -> bool:
        """Return whether a version is still to be tried; end the trial where it is not."""
        if tried.id in self._ended:
            kept.end(self._root, self._name, tried)
            return False
        beats = [beat for beat in list(self._beats.values()) if beat.tried == tried.id]
        known = tuple(total(beat.counts.get(one, Counts()) for beat in beats) for one in (tried.version, champion))
        outcome, reasons = self._found(tried, champion, *known)
        record = self._record(tried, champion, known, outcome, reasons)
        if outcome == "running":
            self._note(record)
            return True
        self._end(tried, record)
        return False

    def _found(self, tried: Tried, champion: int, seen: Counts, usual: Counts) -> tuple[Outcome, tuple[str, ...]]:
        if tried.version == champion:
            return "promoted", ()
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
            self.plan = Plan(self._name, self.plan.champion)
        if record.bad:
            self.taken_back += 1
            say(f"{self._name}/{tried.version} is taken back ({record.outcome}): {'; '.join(record.reasons)}")
        kept.end(self._root, self._name, tried)

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
            model=self._name,
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
            say(f"{self._name}/{champion} cannot be loaded, so what answered before goes on: {'; '.join(failed)}")
            now = utc_now()
            record = Record(
                id=kept.new_id(champion),
                model=self._name,
                version=champion,
                champion=champion,
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
        every = (beat.failed[version] for beat in list(self._beats.values()) if version in beat.failed)
        return tuple(dict.fromkeys(every))

    def _bounds(self, tried: Tried) -> Rollout:
        return Rollout.model_validate({**self._settings.model_dump(), **tried.bounds})

    def _write(self) -> None:
        for name, record in list(self._unwritten.items()):
            kept.write(self._root, record)
            del self._unwritten[name]
