"""What the store keeps of rollouts: ``models/<name>/rollout.json`` while a version is tried, and a record of each.

Records lie in ``models/<name>/rollouts/`` and stay: what was tried, how it ended and what was counted until then.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from thaw import lock
from thaw.config.rollout import Rollout
from thaw.errors import ConfigError, StorageError
from thaw.registry import store
from thaw.registry.record import utc_now
from thaw.serving.rollout.bounds import SHARE
from thaw.serving.rollout.counts import Counts
from thaw.serving.rollout.plan import Kind, Tried
from thaw.storage import Root

Outcome = Literal["running", "rolled_back", "not_loaded", "stopped", "promoted"]


class UnreadableError(StorageError):
    """What is kept of the version that is tried is none."""


class Figures(BaseModel):
    """What was counted of one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    answered: int
    failed: dict[str, int]
    """What was wrong -> images."""
    p95_s: float | None
    abstained: float | None
    """Share of an answer of which the model was unsure, on average."""
    compared: int
    disagreement: float | None
    """Share of an answer that the other version gave otherwise, on average over what was compared."""


class Record(BaseModel):
    """One trial of a version, or a version that an alias was moved to and that could not be loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    model: str
    version: int
    champion: int
    """The version that answered beside it, or goes on in its place."""
    alias: str
    kind: Literal["canary", "shadow", "alias"]
    share: float
    bounds: dict[str, float] = {}
    started: str
    ended: str | None = None
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    figures: tuple[Figures, ...] = ()
    """Of the version that was tried, then of the champion."""

    @property
    def bad(self) -> bool:
        """Whether the version was found unfit."""
        return self.outcome in ("rolled_back", "not_loaded")


def figures(version: int, counts: Counts) -> Figures:
    """Return counts as they are kept and shown."""
    return Figures(
        version=version,
        answered=counts.answered,
        failed=dict(counts.failed),
        p95_s=counts.within_s(SHARE),
        abstained=counts.abstained / counts.answered if counts.answered else None,
        compared=counts.compared,
        disagreement=counts.differed / counts.compared if counts.compared else None,
    )


def read(root: Root, name: str) -> Tried | None:
    """Return the version of a model that is tried; None where there is none.

    Raises:
        UnreadableError: rollout.json holds something else.
        StorageError: the store does not answer.
    """
    path = _path(name)
    if not root.exists(path):
        return None
    content = root.read_bytes(path)
    try:
        tried = Tried.model_validate_json(content)
        Rollout.model_validate(dict(tried.bounds))
        return tried
    except ValidationError as error:
        raise UnreadableError(
            f"{root.shown(path)}: not a rollout: {error.errors()[0]['msg']}; `thaw rollout {name} --stop` removes it"
        ) from None


def remove_unreadable(root: Root, name: str) -> bool:
    """Remove what is no rollout where one should be kept, and return whether there was such a thing."""
    with lock.hold(root, _path(name)):
        try:
            read(root, name)
        except UnreadableError:
            root.remove(_path(name))
            return True
    return False


def begin(
    root: Root, reference: str, kind: Kind, share: float, bounds: Mapping[str, float], alias: str = store.CHAMPION
) -> Tried:
    """Begin to try a version; where it is tried already, change the share and go on counting.

    Args:
        reference: of the version that is tried.
        bounds: fields of `Rollout` in place of the endpoint's own.

    Raises:
        StorageError: there is no such version, it answers already, or another one is tried.
        ConfigError: a bound is not one, or other tasks would be answered than now.
    """
    found = store.resolve(root, reference)
    given = _checked(bounds)
    champion = store.resolve(root, f"{found.name}@{alias}")
    if champion.version == found.version:
        raise StorageError(f"{found.name}@{alias} is version {found.version} already; there is nothing to try")
    _check_tasks(root, champion, found)
    with lock.hold(root, _path(found.name)):
        running = read(root, found.name)
        tried = _continued(running, found, kind, share, given, alias)
        root.write_json(_path(found.name), tried.model_dump(mode="json"))
    return tried


def end(root: Root, name: str, tried: Tried) -> None:
    """End a trial, unless it has ended; another one that has begun since goes on."""
    with lock.hold(root, _path(name)):
        running = read(root, name)
        if running is not None and running.id == tried.id:
            root.remove(_path(name))


def write(root: Root, record: Record) -> None:
    """Keep the record of a trial, in place of what was kept of it before; how one has ended stands for good."""
    with lock.hold(root, _path(record.model)):
        known = record_of(root, record.model, record.id)
        if known is None or known.ended is None:
            _put(root, record)


def finish(root: Root, name: str, outcome: Literal["stopped", "promoted"], only: str | None = None) -> Record | None:
    """End the trial that goes on by hand, and return its record, with what was last counted; None where there is none.

    Whoever else ends it does so before or after: a version that was taken back is not promoted.

    Args:
        outcome: ``promoted`` moves the alias to the version.
        only: id of the trial that is to be ended, whose alias was moved already; left out, whichever goes on.

    Raises:
        StorageError: what is kept of it is unreadable, or the store does not answer.
    """
    with lock.hold(root, _path(name)):
        tried = read(root, name)
        if tried is None or only not in (None, tried.id):
            return None
        champion = store.aliases(root, name).get(tried.alias, tried.version)
        if outcome == "promoted" and only is None:
            store.set_alias(root, name, tried.alias, tried.version)  # first, so that no request goes back in between
        root.remove(_path(name))
        known = record_of(root, name, tried.id) or _begun(name, tried, champion)
        record = known.model_copy(update={"outcome": outcome, "ended": utc_now()})
        _put(root, record)
    return record


def record_of(root: Root, name: str, id_: str) -> Record | None:
    """Return the record of a trial; None where there is none."""
    path = f"{_folder(name)}/{id_}.json"
    return _parsed(root, path) if root.exists(path) else None


def last(root: Root, name: str) -> Record | None:
    """Return the record of the trial that began last; None where none was kept."""
    files = [one for one in root.list(_folder(name)) if one.endswith(".json")]
    return _parsed(root, f"{_folder(name)}/{max(files)}") if files else None


def new_id(version: int) -> str:
    """Return an id for a trial that begins now; ids sort by time."""
    return f"{re.sub(r'[^0-9]', '', utc_now())[:14]}-v{version}"


def _begun(name: str, tried: Tried, champion: int) -> Record:
    """Return the record of a trial of which nothing was counted yet."""
    return Record(
        id=tried.id,
        model=name,
        version=tried.version,
        champion=champion,
        alias=tried.alias,
        kind=tried.kind,
        share=tried.share,
        bounds=dict(tried.bounds),
        started=tried.started,
        outcome="running",
    )


def _put(root: Root, record: Record) -> None:
    root.write_json(f"{_folder(record.model)}/{record.id}.json", record.model_dump(mode="json"))


def _continued(
    running: Tried | None, found: store.ModelVersion, kind: Kind, share: float, bounds: dict[str, float], alias: str
) -> Tried:
    if running is None:
        started = utc_now()
        return Tried(
            id=new_id(found.version),
            version=found.version,
            alias=alias,
            kind=kind,
            share=share,
            bounds=bounds,
            started=started,
        )
    if (running.version, running.kind, running.alias) != (found.version, kind, alias):
        raise StorageError(
            f"{found.name}/{running.version} is tried as a {running.kind} of {found.name}@{running.alias}; end that "
            f"first with `thaw rollout {found.name} --stop`"
        )
    return running.model_copy(update={"share": share, "bounds": {**running.bounds, **bounds}})


def _checked(bounds: Mapping[str, float]) -> dict[str, float]:
    try:
        chosen = Rollout.model_validate(dict(bounds))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{step}: " for step in first["loc"])
        raise ConfigError(f"--bounds: {place}{first['msg']} (got {first['input']!r})") from None
    return {name: getattr(chosen, name) for name in bounds}


def _check_tasks(root: Root, champion: store.ModelVersion, found: store.ModelVersion) -> None:
    """Refuse a version that does not answer what callers are used to."""
    missing = sorted(_tasks(root, champion) - _tasks(root, found))
    if missing:
        raise ConfigError(
            f"{found.name}/{found.version} does not answer task {missing[0]}, which version {champion.version} does: "
            "callers would miss it; what answers other tasks is another model: give it a name of its own"
        )


def _tasks(root: Root, found: store.ModelVersion) -> set[str]:
    described: Any = root.read_json(f"{found.path}/bundle.json")
    return set(described["tasks"])


def _parsed(root: Root, path: str) -> Record:
    try:
        return Record.model_validate(root.read_json(path))
    except ValidationError as error:
        raise StorageError(f"{root.shown(path)}: not a record of a rollout: {error.errors()[0]['msg']}") from None


def _folder(name: str) -> str:
    return f"models/{name}/rollouts"


def _path(name: str) -> str:
    return f"models/{name}/rollout.json"
