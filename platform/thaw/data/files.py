"""Files: what lies in a folder that others filled, on a disk or in an object store, and its bytes.

Read only. Paths are relative to the folder, with ``/``. What is hidden is passed over. Nothing here knows a format.
"""

import contextlib
import os
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pyarrow.fs import FileType

from thaw.errors import DataError, StorageError
from thaw.storage import MissingError, Root, inside, open_root, redacted, stamp_of

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def is_picture(name: str) -> bool:
    """Return whether a file is named like an image. Whether it is one, its content alone decides."""
    return name.lower().endswith(_PICTURES)


def open_folder(uri: str, setting: str = "data.source.path") -> "Folder":
    """Return the folder at a path, ``file://``, ``s3://bucket/x`` or ``gs://bucket/x``; it need not exist.

    Args:
        setting: what names it, for messages.

    Raises:
        DataError: the URI cannot be understood, holds credentials, or the store does not answer.
    """
    if redacted(uri) != uri:
        raise DataError(
            f"{setting}: {redacted(uri)} holds credentials, or what may be some, and would be written down with "
            "every run; take them out and give them to all nodes in the environment, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    try:
        return _folder(open_root(uri))
    except StorageError as error:
        raise DataError(f"{setting}: {error}") from None


def located(uri: str) -> "tuple[Folder, str]":
    """Return a folder and an empty string, or, where a file lies at ``uri``, its folder and its name.

    Raises:
        DataError: as `open_folder`.
    """
    there = open_folder(uri)
    return (there.at(".."), there.name) if there.is_file("") else (there, "")


def snapshot(uri: str) -> "Folder":
    """Return the folder at ``uri`` as it is when it is first listed, which is done once.

    Raises:
        DataError: as `open_folder`.
    """
    return _Snapshot(open_folder(uri))


class Folder(ABC):
    """A folder, or what object stores have in its place: all names that begin alike."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return self.shown("")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    @property
    def name(self) -> str:
        """The folder's own name; that of the bucket where it is a bucket."""
        return posixpath.basename(self.root.path_of(""))

    def shown(self, path: str) -> str:
        """Return a place for a message, without credentials."""
        return self.root.shown(path)

    def at(self, path: str) -> "Folder":
        """Return the folder at a relative path, which may lead out of this one."""
        return _folder(self.root.at(path))

    def check(self, path: str, setting: str = "path") -> str:
        """Return the path of a folder as it is.

        Raises:
            DataError: there is none, or it lies outside of this one.
        """
        if ".." in path.split("/"):
            raise DataError(f"data.source.{setting}: {path!r} leaves {self}; folders must lie in it")
        if not self.is_folder(path):
            raise DataError(f"data.source.{setting}: {self.shown(path)} is not a folder that this node can read")
        return path

    @abstractmethod
    def is_file(self, path: str) -> bool:
        """Return whether a file is there."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Return whether a folder is there."""

    @abstractmethod
    def folders(self, path: str = "") -> list[str]:
        """Return the sorted names of the folders right in a folder."""

    @abstractmethod
    def names(self, path: str = "") -> list[str]:
        """Return the sorted names of the files right in a folder."""

    @abstractmethod
    def below(self, path: str = "") -> Iterator[str]:
        """Yield the path, from this folder on, of every file below a folder in it, by name."""

    @abstractmethod
    def read(self, path: str, most: int = -1) -> bytes:
        """Return the first ``most`` bytes of a file, or all of them where it has no more; -1 for no bound.

        Raises:
            OSError: the file cannot be read.
            StorageError: the store does not answer, which says nothing about the file.
        """

    @abstractmethod
    def stamps(self, paths: Sequence[str]) -> list[str | None]:
        """Return for each file a text that is another one once its content is; None where there is no such file."""


def _folder(root: Root) -> Folder:
    return _Disk(root) if root.is_local else _Store(root)


class _Disk(Folder):
    """A folder on a disk."""

    def is_file(self, path: str) -> bool:
        return (self._path / path).is_file()

    def is_folder(self, path: str) -> bool:
        return (self._path / path).is_dir()

    def folders(self, path: str = "") -> list[str]:
        return sorted(one.name for one in self._entries(path) if one.is_dir())

    def names(self, path: str = "") -> list[str]:
        return sorted(one.name for one in self._entries(path) if one.is_file())

    def below(self, path: str = "") -> Iterator[str]:
        top = self._path / path
        for file in sorted(top.rglob("*")):
            if file.is_file() and not any(_hidden(part) for part in file.relative_to(top).parts):
                yield file.relative_to(self._path).as_posix()

    def read(self, path: str, most: int = -1) -> bytes:
        with (self._path / path).open("rb") as file:
            return file.read(most)

    def stamps(self, paths: Sequence[str]) -> list[str | None]:
        return [stamp_of(self._path / path) for path in paths]

    @property
    def _path(self) -> Path:
        return Path(self.root.uri)

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._path / path) as entries:
                return [one for one in entries if not _hidden(one.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []


class _Listed(Folder):
    """A folder whose files are listed once, when the list is first asked for."""

    @abstractmethod
    def _all(self) -> Iterable[str]:
        """Return the path of every file, from this folder on."""

    def is_file(self, path: str) -> bool:
        folder, _, name = inside(path).rpartition("/")
        return name in self._level(folder).names

    def is_folder(self, path: str) -> bool:
        return inside(path) in self._tree

    def folders(self, path: str = "") -> list[str]:
        return sorted(self._level(path).folders)

    def names(self, path: str = "") -> list[str]:
        return sorted(self._level(path).names)

    def below(self, path: str = "") -> Iterator[str]:
        level = self._level(path)
        for name in sorted(level.folders | level.names):
            place = f"{inside(path)}/{name}".lstrip("/")
            if name in level.names:
                yield place
            if name in level.folders:
                yield from self.below(place)

    def _level(self, path: str) -> "_Level":
        return self._tree.get(inside(path), _Level())

    @cached_property
    def _tree(self) -> Mapping[str, "_Level"]:
        tree: dict[str, _Level] = {}
        for file in self._all():
            *folders, name = file.split("/")
            if any(_hidden(part) for part in (*folders, name)):
                continue
            place = ""
            for folder in folders:
                tree.setdefault(place, _Level()).folders.add(folder)
                place = f"{place}/{folder}".lstrip("/")
            tree.setdefault(place, _Level()).names.add(name)
        return tree


class _Store(_Listed):
    """All names of an object store that begin alike; all are listed only where files below a folder are asked for."""

    def _all(self) -> Iterable[str]:
        return self.root.files_below("")

    def below(self, path: str = "") -> Iterator[str]:
        _ = self._tree  # one request for a thousand files, rather than one for every folder
        return super().below(path)

    def _level(self, path: str) -> "_Level":
        if "_tree" in vars(self):
            return super()._level(path)
        there = [one for one in self.root.children(path) if not _hidden(one.base_name)]
        names = {
            kind: {one.base_name for one in there if one.type == kind} for kind in (FileType.Directory, FileType.File)
        }
        return _Level(names[FileType.Directory], names[FileType.File])

    def is_file(self, path: str) -> bool:
        return self.root.is_file(path)

    def is_folder(self, path: str) -> bool:
        return self.root.is_folder(path)

    def read(self, path: str, most: int = -1) -> bytes:
        with _missing_as_on_a_disk(path):
            return self.root.read_first(path, most)

    def stamps(self, paths: Sequence[str]) -> list[str | None]:
        found = iter(self.root.stamps([path for path in paths if _can_be(path)]))
        return [next(found) if _can_be(path) else None for path in paths]


class _Snapshot(_Listed):
    """Another folder as it was when it was first listed, for those who look again and again."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder.root)
        self._folder = folder

    def _all(self) -> Iterable[str]:
        if not self.root.is_local:
            yield from self._folder.below()
            return
        yield from self._folder.names()
        for name in self._folder.folders():  # one by one, for a link to a folder is followed where it is asked for
            yield from (f"{name}/{one}" for one in self._folder.names(name))
            for inner in self._folder.folders(name):
                yield from self._folder.below(f"{name}/{inner}")

    def at(self, path: str) -> Folder:
        return _Snapshot(self._folder.at(path))

    def read(self, path: str, most: int = -1) -> bytes:
        return self._folder.read(path, most)

    def stamps(self, paths: Sequence[str]) -> list[str | None]:
        return self._folder.stamps(paths)


@dataclass(frozen=True)
class _Level:
    """What lies right in a folder."""

    folders: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@contextlib.contextmanager
def _missing_as_on_a_disk(path: str) -> Iterator[None]:
    """Raise what a disk raises where there is no such file, or can be none."""
    missing = FileNotFoundError(2, os.strerror(2), path)
    if not _can_be(path):
        raise missing
    try:
        yield
    except MissingError:
        raise missing from None


def _can_be(path: str) -> bool:
    """Return whether a file below a folder can be named so."""
    try:
        inside(path)
    except StorageError:
        return False
    return True


def _hidden(name: str) -> bool:
    return name.startswith(".")
