"""Record: what one run was given, what it reached and what came of it, in ``runs/<run id>/record.json``.

A record is enough to tell two runs apart and to repeat one. It holds no weights and no series of values:
those are in the run's checkpoints, bundle and TensorBoard events.
"""

import re
import secrets
import subprocess
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw import catalog, lock
from thaw.errors import ConfigError, StorageError
from thaw.storage import Root

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""What the name of an experiment or a model may be: letters, digits, ``-`` and ``_``, at most 64."""

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"
"""What the id of a run or a sweep may be."""

_GIT_TIMEOUT_S = 10

Stage = Literal["running", "trained", "evaluated", "failed"]


class RunRecord(BaseModel):
    """One run. A metric that has no value is left out: NaN and infinities are refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    id: str = Field(pattern=RUN_ID)
    """Name of the run's folder, from `new_run_id`."""
    stage: Stage
    """How far the run came."""
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$")
    """When the run began: ISO 8601 in UTC, from `utc_now`."""
    git_commit: str | None
    """Commit the run was started from, ``+dirty`` when there were changes; None when it is not known."""
    thaw_version: str
    """Version of Thaw that ran."""
    experiment: dict[str, Any]
    """The resolved experiment, every default written out."""
    dataset: str
    """Where the prepared dataset is below the root, e.g. ``datasets/boards-9fa307d295f2``."""
    dataset_fingerprint: str
    """Fingerprint of the prepared dataset."""
    label_fingerprints: dict[str, str]
    """Task -> fingerprint of its label schema."""
    weights: dict[str, str]
    """Pretrained weights the run began from: ``source`` and ``sha256``."""
    environment: dict[str, str | int | float]
    """What it ran on: device, precision, number of workers, versions of ray, torch and timm."""
    metrics: dict[str, dict[str, dict[str, float]]]
    """Split -> task -> metric -> value."""
    diagnosis: dict[str, dict[str, str | int]] = {}
    """Task -> what its curves said in the end: kind, since_epoch, evidence and action."""
    epochs_run: int = Field(ge=0)
    """Epochs finished, of all phases together."""
    wall_s: float = Field(ge=0)
    """Seconds from the start of training to its end."""
    bundle: str | None
    """Where the bundle is below the root, e.g. ``models/boards/3``; None while there is none."""


class Runs(NamedTuple):
    """The runs of a root, and those that cannot be read."""

    records: list[RunRecord]
    """Newest first."""
    unreadable: list[str]
    """One line for each record that is not valid: where it is and why."""


def utc_now() -> str:
    """Return the time as ``created`` wants it, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id(name: str) -> str:
    """Return ``<name>-<UTC yyyymmdd-hhmmss>-<4 hex digits>``, a new one at each call."""
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in ``folder``, with ``+dirty`` when files were changed or added since.

    None outside a repository, before its first commit, and where git is missing or does not answer.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return f"{commit}+dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            check=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def save(root: Root, record: RunRecord) -> None:
    """Publish ``record`` in its run's folder, in place of the one before."""
    root.write_json(_path(record.id), record.model_dump(mode="json"))


def hold(root: Root, run_id: str) -> AbstractContextManager[None]:
    """Hold a run's record while it is read, changed and saved, where others may do so at the same time."""
    return lock.hold(root, _path(run_id))


def check_id(run_id: str) -> None:
    """Refuse what cannot be the id of a run or a sweep.

    Raises:
        ConfigError: it cannot.
    """
    if not re.fullmatch(RUN_ID, run_id):
        raise ConfigError(
            f"--run {run_id}: not an id: up to 100 letters, digits, - and _, of which the first is none of these two"
        )


def exists(root: Root, run_id: str) -> bool:
    """Return whether a run of this id was begun.

    Raises:
        ConfigError: it cannot be the id of a run.
    """
    check_id(run_id)
    return root.exists(_path(run_id))


def load(root: Root, run_id: str) -> RunRecord:
    """Return the record of a run.

    Raises:
        StorageError: there is no such run (the message names the nearest one), or its record is not valid.
    """
    if not re.fullmatch(RUN_ID, run_id) or not root.exists(_path(run_id)):
        known = _run_ids(root)
        hint = catalog.did_you_mean(run_id, known)
        raise StorageError(f"{root}: no run {run_id!r} among {len(known)}{hint} (`thaw runs` lists them)")
    return _read(root, run_id)


def runs(root: Root) -> Runs:
    """Return every run that has a record, and name those whose record cannot be read.

    One broken record must not hide the others, nor vanish unseen: show `Runs.unreadable` to the user.
    """
    records: list[RunRecord] = []
    unreadable: list[str] = []
    for run_id in _run_ids(root):
        try:
            records.append(_read(root, run_id))
        except StorageError as error:
            unreadable.append(str(error))
    records.sort(key=lambda record: (record.created, record.id), reverse=True)
    return Runs(records, unreadable)


def _path(run_id: str) -> str:
    return f"runs/{run_id}/record.json"


def _run_ids(root: Root) -> list[str]:
    return [run_id for run_id in root.list("runs") if root.exists(_path(run_id))]


def _read(root: Root, run_id: str) -> RunRecord:
    try:
        return RunRecord.model_validate_json(root.read_bytes(_path(run_id)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StorageError(
            f"{root}: {_path(run_id)}: {where}: {first['msg']}; restore the file, or remove the run's folder"
        ) from error
