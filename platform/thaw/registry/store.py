"""Store: numbered versions of a model, and the aliases that point at them.

A version is a folder, ``models/<name>/<version>/``, and never changes but for its model card, which is written anew
whenever it was measured, and for artifacts that are added; ``models/<name>/aliases.json`` is the only other file that
does. Nothing here reads weights: a bundle is a folder of files with a ``bundle.json``.

A version exists once its ``bundle.json`` does, and that file is uploaded last. Its number is allotted
before the upload and never again, so what an interrupted upload left behind is neither seen nor mixed
with another's files.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from thaw import catalog, lock
from thaw.errors import StorageError
from thaw.registry.record import NAME, utc_now
from thaw.storage import MissingError, Root

CHAMPION = "champion"
"""The alias that a plain model name stands for."""

ARTIFACTS, REFUSED = "artifacts", "refused"
"""Folders of a version for what is exported of it (see thaw.registry.artifacts)."""

_BUNDLE = "bundle.json"
_LINEAGE = "lineage.json"
_CLAIM = ".claim"
_ALIAS = r"[a-z][a-z0-9_-]{0,63}"


class Lineage(BaseModel):
    """Where a version comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run_id: str
    """The run that trained it."""
    dataset_fingerprint: str
    """The dataset it was trained on."""
    git_commit: str | None = None
    """The code that trained it; None when it is not known."""
    learnt_from: str = "train"
    """The splits of the dataset that it has learnt from, joined by ``+``: it cannot be measured on them."""
    parent: str | None = None
    """``name/version`` of the champion when it was registered; filled in by `register`."""
    created: str | None = None
    """When it was registered, ISO 8601 in UTC; filled in by `register`."""


@dataclass(frozen=True)
class ModelVersion:
    """One complete version of a model."""

    name: str
    version: int
    path: str
    """Its folder below the root."""
    aliases: tuple[str, ...]
    """The sorted aliases that pointed at it when it was looked up."""


def register(root: Root, name: str, bundle_dir: Path, lineage: Lineage, leave_out: Collection[str] = ()) -> int:
    """Upload a bundle as the next version of the model ``name`` and return its number, counted from 1.

    Any number of machines may register at once: each gets a number of its own. Readers see the version
    when its upload is complete, and no version when it is interrupted; its number is then left unused.

    Args:
        leave_out: names of files in the folder that are no part of the bundle.

    Raises:
        StorageError: the name is not legal, or the folder holds no bundle.json.
    """
    _check("model name", name, NAME)
    if not (bundle_dir / _BUNDLE).is_file():
        raise StorageError(f"{bundle_dir}: not a bundle: it has no {_BUNDLE}")
    champion = aliases(root, name).get(CHAMPION)
    parent = None if champion is None else f"{name}/{champion}"
    version = _allot(root, name)
    folder = _folder(name, version)
    root.upload(bundle_dir, folder, leave_out={_BUNDLE, _LINEAGE, _CLAIM, *leave_out})
    complete = lineage.model_copy(update={"parent": parent, "created": utc_now()})
    root.write_json(f"{folder}/{_LINEAGE}", complete.model_dump(mode="json"))
    root.write_bytes(f"{folder}/{_BUNDLE}", (bundle_dir / _BUNDLE).read_bytes())
    return version


def names(root: Root) -> list[str]:
    """Return the sorted names of the models that have a version."""
    return [name for name in root.list("models") if _legal(name, NAME) and versions(root, name)]


def versions(root: Root, name: str) -> list[int]:
    """Return the complete versions of a model, oldest first; none when there is no such model."""
    return [version for version in _allotted(root, name) if root.exists(f"{_folder(name, version)}/{_BUNDLE}")]


def of_run(root: Root, name: str, run_id: str) -> int | None:
    """Return the version that a run has registered, the newest one; None where it has none."""
    for version in reversed(versions(root, name)):
        if lineage(root, ModelVersion(name, version, _folder(name, version), ())).run_id == run_id:
            return version
    return None


def aliases(root: Root, name: str) -> dict[str, int]:
    """Return alias -> version of a model; none when there is no such model.

    Raises:
        StorageError: aliases.json holds something else than aliases.
    """
    _check("model name", name, NAME)
    path = _aliases_path(name)
    if not root.exists(path):
        return {}
    found = root.read_json(path)
    if not isinstance(found, dict) or not all(type(version) is int for version in found.values()):
        raise StorageError(f"{root}: {path}: not a mapping of aliases to versions; mend it by hand")
    return found


def set_alias(root: Root, name: str, alias: str, version: int) -> int | None:
    """Point ``alias`` at a version and return the version it pointed at before, or None.

    Raises:
        StorageError: the alias is not legal, or there is no such version.
    """
    _check("alias", alias, _ALIAS)
    _check_version(root, name, version)
    with lock.hold(root, _aliases_path(name)):
        known = aliases(root, name)
        root.write_json(_aliases_path(name), dict(sorted({**known, alias: version}.items())))
    return known.get(alias)


def resolve(root: Root, reference: str) -> ModelVersion:
    """Return the version that ``NAME/3``, ``NAME@alias`` or ``NAME`` (its champion) stands for.

    Raises:
        StorageError: there is no such model, alias or version; the message lists those that exist.
    """
    parts = re.fullmatch(rf"({NAME})(?:/([1-9]\d*)|@({_ALIAS}))?", reference)
    if parts is None:
        raise StorageError(f"{reference!r} is not a model: write NAME, NAME@alias or NAME/version")
    name, number, alias = parts.groups()
    check_name(root, name)
    known = aliases(root, name)
    version = int(number) if number else _pointed_at(root, name, alias, known)
    _check_version(root, name, version)
    pointing = tuple(sorted(alias for alias, target in known.items() if target == version))
    return ModelVersion(name, version, _folder(name, version), pointing)


def alias_in(reference: str) -> str | None:
    """Return the alias that a reference names, which may come to point at another version; None where it names one."""
    return None if "/" in reference else (reference.partition("@")[2] or CHAMPION)


def check_name(root: Root, name: str) -> None:
    """Refuse a name that no model has.

    Raises:
        StorageError: there is none of it; the message lists those that exist.
    """
    if not versions(root, name):
        known = names(root)
        hint = catalog.did_you_mean(name, known)
        raise MissingError(f"{root}: no model {name!r}; the models are {_listed(known)}{hint}")


def lineage(root: Root, found: ModelVersion) -> Lineage:
    """Return where a version comes from.

    Raises:
        StorageError: its lineage.json is missing or not valid.
    """
    path = f"{found.path}/{_LINEAGE}"
    try:
        return Lineage.model_validate_json(root.read_bytes(path))
    except ValidationError as error:
        raise StorageError(f"{root}: {path}: not a lineage: {error.errors()[0]['msg']}") from error


def identity(root: Root, found: ModelVersion) -> str:
    """Return what tells a version from all others: a store that was emptied may hold another model 1."""
    content = root.read_bytes(f"{found.path}/{_LINEAGE}")
    return hashlib.sha256(str(root).encode() + content).hexdigest()[:12]


def fetch(root: Root, found: ModelVersion, folder: Path) -> Path:
    """Return a local folder with the bundle of a version: the store's own, or a copy below ``folder``.

    A copy appears whole and is used again by the next call, in this or another process. Stores that share
    ``folder`` do not get in each other's way.
    """
    if root.is_local:
        return Path(root.path_of(found.path))
    return downloaded(root, found.path, folder / identity(root, found) / found.name / str(found.version))


def downloaded(root: Root, path: str, target: Path) -> Path:
    """Copy a folder of the store to a local one, unless that is there; it appears whole.

    What was exported of a version is no part of its copy.
    """
    if not target.exists():
        _download(root, path, target)
    return target


def _download(root: Root, path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        root.download(path, part, leave_out={ARTIFACTS, REFUSED})
        part.rename(target)
    except OSError:
        if not target.exists():  # another process may have been first
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _allot(root: Root, name: str) -> int:
    """Return the next version number, and mark it so that nobody else gets it."""
    with lock.hold(root, f"models/{name}/versions"):
        version = max(_allotted(root, name), default=0) + 1
        root.write_json(f"{_folder(name, version)}/{_CLAIM}", {"created": utc_now()})
    return version


def _allotted(root: Root, name: str) -> list[int]:
    """Return the sorted version numbers in use, complete or not."""
    _check("model name", name, NAME)
    return sorted(int(child) for child in root.list(f"models/{name}") if re.fullmatch(r"[1-9]\d*", child))


def _pointed_at(root: Root, name: str, alias: str | None, known: dict[str, int]) -> int:
    wanted = alias or CHAMPION
    if wanted in known:
        return known[wanted]
    has = f"it has {', '.join(sorted(known))}" if known else "it has none"
    hint = catalog.did_you_mean(wanted, known)
    existing = _listed(versions(root, name))
    raise MissingError(
        f"{root}: model {name!r} has no alias {wanted!r}: {has}{hint}. Its versions: {existing}; "
        f"name one as {name}/VERSION, or set the alias with `thaw promote`"
    )


def _check_version(root: Root, name: str, version: int) -> None:
    known = versions(root, name)
    if version not in known:
        raise MissingError(f"{root}: model {name!r} has no complete version {version}; it has {_listed(known)}")


def _check(what: str, word: str, pattern: str) -> None:
    if not _legal(word, pattern):
        raise StorageError(f"{word!r} is not a legal {what}: it must match {pattern}")


def _legal(word: str, pattern: str) -> bool:
    return re.fullmatch(pattern, word) is not None


def _listed(things: list[str] | list[int]) -> str:
    return ", ".join(map(str, things)) or "none"


def _folder(name: str, version: int) -> str:
    return f"models/{name}/{version}"


def _aliases_path(name: str) -> str:
    return f"models/{name}/aliases.json"
