"""Artifacts: what was exported of a version, in ``models/<name>/<version>/artifacts/<artifact>/``, never changed.

An artifact exists once its ``artifact.json`` does, which is uploaded last. What was refused is none: of that the
evidence alone is kept, in ``models/<name>/<version>/refused/``.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thaw import catalog
from thaw.errors import StorageError
from thaw.registry import store
from thaw.registry.record import utc_now
from thaw.registry.store import ModelVersion
from thaw.storage import MissingError, Root

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
"""What the name of an artifact may be."""

_ARTIFACT = "artifact.json"


def names(root: Root, found: ModelVersion) -> list[str]:
    """Return the sorted names of the artifacts of a version."""
    folder = f"{found.path}/{store.ARTIFACTS}"
    return [name for name in root.list(folder) if root.exists(f"{folder}/{name}/{_ARTIFACT}")]


def read(root: Root, found: ModelVersion, name: str) -> dict[str, Any]:
    """Return what an artifact says of itself, as it was written.

    Raises:
        StorageError: there is no such artifact; the message lists those that exist.
    """
    value: dict[str, Any] = root.read_json(f"{_resolved(root, found, name)}/{_ARTIFACT}")
    return value


def check_free(root: Root, found: ModelVersion, name: str) -> None:
    """Refuse a name that is not legal or taken.

    Raises:
        StorageError: it is.
    """
    if not re.fullmatch(NAME, name):
        raise StorageError(f"{name!r} is not a legal artifact name: it must match {NAME}")
    if name in names(root, found):
        raise StorageError(
            f"{root.shown(_folder(found, name))}: exists already, and artifacts are never changed; choose another "
            "name with --name, or remove the folder"
        )


def register(root: Root, found: ModelVersion, name: str, folder: Path) -> str:
    """Upload an artifact and return its folder below the root.

    Raises:
        StorageError: its name is taken, or the local folder holds no artifact.json.
    """
    check_free(root, found, name)
    if not (folder / _ARTIFACT).is_file():
        raise StorageError(f"{folder}: not an artifact: it has no {_ARTIFACT}")
    path = _folder(found, name)
    root.remove(path)  # what an upload left that did not come to its end
    root.upload(folder, path, leave_out={_ARTIFACT})
    root.write_bytes(f"{path}/{_ARTIFACT}", (folder / _ARTIFACT).read_bytes())
    return path


def refuse(root: Root, found: ModelVersion, name: str, evidence: Mapping[str, Any]) -> str:
    """Keep why an artifact was not registered, and return where below the root."""
    stamp = re.sub(r"\D", "", utc_now())[:14]
    path = f"{found.path}/{store.REFUSED}/{name}-{stamp}.json"
    root.write_json(path, dict(evidence))
    return path


def identity(root: Root, found: ModelVersion, name: str) -> str:
    """Return what tells an artifact from all others: one of this name may have been removed and made anew.

    Raises:
        StorageError: there is no such artifact.
    """
    content = root.read_bytes(f"{_resolved(root, found, name)}/{_ARTIFACT}")
    return hashlib.sha256(str(root).encode() + content).hexdigest()[:12]


def fetch(root: Root, found: ModelVersion, name: str, folder: Path) -> Path:
    """Return a local folder with an artifact: the store's own, or a copy below ``folder``.

    Raises:
        StorageError: there is no such artifact.
    """
    path = _resolved(root, found, name)
    if root.is_local:
        return Path(root.path_of(path))
    own = identity(root, found, name)
    return store.downloaded(root, path, folder / own / found.name / str(found.version) / name)


def _resolved(root: Root, found: ModelVersion, name: str) -> str:
    known = names(root, found)
    if name not in known:
        listed = ", ".join(known) or "none; `thaw export` makes one"
        raise MissingError(
            f"{root}: {found.name}/{found.version} has no artifact {name!r}; it has {listed}"
            f"{catalog.did_you_mean(name, known)}"
        )
    return _folder(found, name)


def _folder(found: ModelVersion, name: str) -> str:
    return f"{found.path}/{store.ARTIFACTS}/{name}"
