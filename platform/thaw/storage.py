"""Storage: one root on a local disk, S3 or Google Cloud Storage, and paths below it.

Everything Thaw keeps is immutable but a few small JSON files, so all that is needed is to publish a file
whole and to list a folder (thaw.lock builds on that). Nothing here knows what a run, a dataset or a model is.

Only filesystems that publish a file when its stream is closed are allowed. HDFS shows a file while it is
being written and Azure empties it first, so a reader there could see a part of it.
"""

import contextlib
import functools
import json
import os
import random
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from thaw.errors import StorageError

SCHEMES = ("file://", "s3://", "gs://")
"""How the URI of a root may begin; a path without a scheme is a folder on this machine."""

_ALLOWED = "give a folder, file:///folder, s3://bucket/folder or gs://bucket/folder"
_CHUNK = 8 * 2**20
_READ_ATTEMPTS = 20
_POLL_S = 0.05
_ASKED = 16
"""Questions that a store is asked at the same time."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""How long `patiently` waits after each refusal."""
_LOCAL_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
_Names: TypeAlias = list[str]  # inside Root, `list` is its method
_OPEN_QUERY = re.compile(r"scheme|endpoint_override|region|(allow|tls)_\w+|smart_defaults|retry_limit_seconds")
"""Query parameters that hold no secret."""


def open_root(uri: str) -> "Root":
    """Return the root at ``uri``: a path (``~`` is expanded), ``file://``, ``s3://bucket/x`` or ``gs://bucket/x``.

    A folder need not exist yet; a bucket must.

    Raises:
        StorageError: the scheme is not allowed, the URI is malformed, or the store does not answer.
    """
    scheme = re.match(r"(\w+):/+", uri)
    if not uri.strip() or (scheme and not uri.startswith(SCHEMES)):
        raise StorageError(f"{redacted(uri)!r} is not a storage root: {_ALLOWED}")
    if not scheme:
        return Root(os.path.abspath(Path(uri).expanduser()))  # noqa: PTH100 - resolve() would follow links
    _, path = _open(uri)
    if scheme[1] == "file":
        return Root(path)
    parts = urlsplit(uri)
    root = Root(parts._replace(path=parts.path.rstrip("/"), fragment="").geturl())
    root._refuse_missing_bucket()
    return root


def file_in(uri: str) -> tuple["Root", str]:
    """Return the root that a single file lies in, and its name there.

    Args:
        uri: a path, or a URI of a kind that a storage root may have.
    """
    if "://" not in uri:
        path = Path(uri).expanduser()
        return open_root(str(path.parent)), path.name
    whole, mark, query = uri.partition("?")
    folder, _, name = whole.rpartition("/")
    return open_root(folder + mark + query), name


def redacted(uri: str) -> str:
    """Return ``uri`` with its credentials, and query values that may be secret, replaced by ``***``."""
    if "://" not in uri:
        return uri
    shown = re.sub(r"://.*@", "://***@", uri, flags=re.DOTALL)
    return re.sub(r"(?<=[?&])([^=&]+)=([^&]*)", _redacted_parameter, shown)


def _redacted_parameter(parameter: re.Match[str]) -> str:
    return parameter[0] if _OPEN_QUERY.fullmatch(parameter[1]) else f"{parameter[1]}=***"


@functools.lru_cache(maxsize=32)
def _open(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of ``uri`` and the root's path on it; cached, for a client is slow to build."""
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri.rstrip("/") or "/"
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (OSError, pa.ArrowException) as error:
        reason = _reason(error, uri)
        raise StorageError(f"{redacted(uri)}: cannot be opened: {reason}; {_ALLOWED}") from None
    if not path:
        raise StorageError(f"{redacted(uri)}: no bucket is named; {_ALLOWED}")
    return filesystem, path.rstrip("/") or "/"


def _reason(error: BaseException, uri: str) -> str:
    """Return what ``error`` says, on one line, without the credentials of ``uri`` however it quotes them."""
    said = (str(error) or type(error).__name__).replace(uri, redacted(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        said = said.replace(secret, "***")
    return " ".join(said.split())


def _secrets(uri: str) -> set[str]:
    user, at, _ = uri.partition("://")[2].rpartition("@")
    words = {user, *user.split(":", 1)} if at else set()
    words |= {value for key, value in parse_qsl(urlsplit(uri).query) if not _OPEN_QUERY.fullmatch(key)}
    return {form for word in words for form in (word, unquote(word)) if form}


@dataclass(frozen=True, repr=False)
class Root:
    """A folder that paths are relative to, on any of the allowed filesystems.

    Plain data: only the URI crosses to another process, and the filesystem is opened where it is used.
    Make one with `open_root`, which makes the URI absolute. Every method raises StorageError, with the URI
    but never its credentials, when the store does not do what was asked, or when a path is absolute or
    leaves the root through ``..``.
    """

    uri: str
    """Absolute path, or ``s3://`` or ``gs://`` URI; may carry credentials, so show `str(root)` instead."""

    def __post_init__(self) -> None:
        if not self.uri.startswith(("/", "s3://", "gs://")):
            raise StorageError(f"{self} is not absolute; make a root with storage.open_root")

    def __str__(self) -> str:
        return redacted(self.uri)

    def __repr__(self) -> str:
        return f"Root({str(self)!r})"

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow filesystem; use it with `path_of`."""
        return _open(self.uri)[0]

    @property
    def is_local(self) -> bool:
        """Whether `path_of` is a path on this machine's disks."""
        return "://" not in self.uri

    def path_of(self, path: str) -> str:
        """Return the full path of ``path`` on `filesystem`."""
        return "/".join(filter(None, [_open(self.uri)[1].rstrip("/"), inside(path)])) or "/"

    def uri_of(self, path: str) -> str:
        """Return the URI of ``path``, with the root's query and credentials: to open, not to show."""
        if self.is_local:
            return self.path_of(path)
        parts = urlsplit(self.uri)
        return parts._replace(path="/".join(filter(None, [parts.path, quote(inside(path))]))).geturl()

    def shown(self, path: str) -> str:
        """Return the URI of ``path`` for a message: without credentials and query."""
        return self.uri_of(path) if self.is_local else redacted(self.uri_of(path)).partition("?")[0]

    def exists(self, path: str) -> bool:
        """Return whether there is a file or a folder at ``path``."""
        with self._telling("look up", path):
            return bool(self._info(path).type != pafs.FileType.NotFound)

    def list(self, path: str) -> _Names:
        """Return the sorted names of the immediate children of a folder; none when it is missing."""
        return sorted(child.base_name for child in self.children(path))

    def children(self, path: str) -> Sequence[pafs.FileInfo]:
        """Return what the store knows of the immediate children of a folder; none when it is missing."""
        return self._select(path, pafs.FileSelector(self.path_of(path), allow_not_found=True))

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        with self._telling("measure", path):
            info = self._info(path)
        if info.type != pafs.FileType.File:
            raise MissingError(f"{self.shown(path)}: no such file")
        return int(info.size)

    def is_file(self, path: str) -> bool:
        """Return whether there is a file at ``path``."""
        with self._telling("look up", path):
            return bool(self._info(path).type == pafs.FileType.File)

    def is_folder(self, path: str) -> bool:
        """Return whether there is a folder at ``path``; in an object store, whether there is a file below it."""
        with self._telling("look up", path):
            return bool(self._info(path).type == pafs.FileType.Directory)

    def stamps(self, paths: Sequence[str]) -> Sequence[str | None]:
        """Return for each file a text that is another one once its content is; None where there is no such file.

        A store is asked for many at the same time.
        """
        if self.is_local:
            return [stamp_of(Path(self.path_of(path))) for path in paths]
        with ThreadPoolExecutor(_ASKED) as threads:
            return list(threads.map(self._remote_stamp, paths))

    def files_below(self, path: str) -> _Names:
        """Return the sorted paths, relative to a folder, of all files below it; none when it is missing."""
        folder = self.path_of(path)
        below = self._select(path, pafs.FileSelector(folder, allow_not_found=True, recursive=True))
        files = (info.path for info in below if info.type == pafs.FileType.File)
        return sorted(file.removeprefix(folder).lstrip("/") for file in files)

    def read_first(self, path: str, most: int = -1) -> bytes:
        """Return the first ``most`` bytes of a file, or all of them where it has no more; -1 for no bound.

        What a writer does to the file meanwhile is not noticed, as it is by `read_bytes`.

        Raises:
            MissingError: there is no such file.
        """
        with self._telling("read", path), self.filesystem.open_input_file(self.path_of(path)) as file:
            size = int(file.size())
            return bytes(file.read(size if most < 0 else min(size, most)))

    def at(self, path: str) -> "Root":
        """Return the root at a relative path, which may lead out through ``..``, but not out of a bucket."""
        if self.is_local:
            return Root(os.path.normpath(f"{self.uri}/{path}"))
        parts = urlsplit(self.uri)
        place = os.path.normpath(f"{parts.path}/{quote(path)}".lstrip("/"))
        if place.split("/", 1)[0] == "..":
            raise StorageError(f"{path!r} leads out of the bucket of {self}")
        return Root(parts._replace(path="" if place == "." else f"/{place}").geturl())

    def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
        """Return the whole content of a file, as one writer published it.

        Raises:
            StorageError: the file is missing, or larger than ``max_bytes``.
        """
        for _ in range(_READ_ATTEMPTS):
            with contextlib.suppress(_ReplacedError):
                return self._read_once(path, max_bytes)
            time.sleep(random.uniform(0, _POLL_S))
        raise StorageError(f"{self.shown(path)}: replaced {_READ_ATTEMPTS} times while it was read; try again")

    def write_bytes(self, path: str, data: bytes) -> None:
        """Publish a file whole: a reader finds the old content or the new one, never a part."""
        self._publish(path, [data])

    def read_json(self, path: str) -> Any:
        """Return the value in a JSON file.

        Raises:
            StorageError: the file is missing or is not JSON.
        """
        try:
            return json.loads(self.read_bytes(path))
        except ValueError as error:
            raise StorageError(f"{self.shown(path)}: not JSON: {error}") from error

    def write_json(self, path: str, value: Any) -> None:
        """Publish ``value`` as indented UTF-8 JSON, keys in the order given.

        Raises:
            StorageError: it holds NaN or an infinity, which JSON does not have.
        """
        try:
            text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        except ValueError as error:
            raise StorageError(f"{self.shown(path)}: cannot be written as JSON: {error}") from error
        self.write_bytes(path, f"{text}\n".encode())

    def copy(self, path: str, to: str) -> None:
        """Give a file a second place, without its content passing through here: a store copies it, a disk links to it.

        Both are as good as written: files are replaced, never changed.
        """
        with self._telling("copy", path):
            if self.is_local:
                _link_local(Path(self.path_of(path)), Path(self.path_of(to)))
            else:
                self.filesystem.copy_file(self.path_of(path), self.path_of(to))

    def upload(self, local_dir: Path, path: str, leave_out: Collection[str] = ()) -> None:
        """Copy every file below ``local_dir`` to the folder ``path``; each appears whole, in sorted order.

        Args:
            local_dir: a folder of regular files; links to files are followed.
            path: a new or existing folder of this root.
            leave_out: paths relative to ``local_dir`` that are not copied.
        """
        for source in _regular_files(local_dir):
            name = source.relative_to(local_dir).as_posix()
            if name not in leave_out:
                self._upload_file(source, f"{path}/{name}")

    def download(self, path: str, local_dir: Path, leave_out: Collection[str] = ()) -> None:
        """Copy every file below the folder ``path`` into ``local_dir``, which is made when missing.

        Args:
            path: a folder of this root.
            local_dir: a folder of this machine.
            leave_out: folders directly in ``path`` that are not copied.

        Raises:
            StorageError: there is no such folder, or a file in it was replaced meanwhile.
        """
        names = [name for name in self.files_below(path) if name.partition("/")[0] not in leave_out]
        if not names:
            raise MissingError(f"{self.shown(path)}: no such folder, or nothing in it")
        for name in names:
            self._download_file(f"{path}/{name}", local_dir / inside(name))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens when it is missing."""
        if not inside(path):
            raise StorageError(f"{self}: the root itself is not removed here; name a path below it")
        with self._telling("remove", path), contextlib.suppress(FileNotFoundError):
            if self._info(path).type == pafs.FileType.Directory:
                self.filesystem.delete_dir(self.path_of(path))
            else:
                self.filesystem.delete_file(self.path_of(path))

    def _read_once(self, path: str, max_bytes: int | None) -> bytes:
        data = bytearray()
        for chunk in self._chunks(path):
            data += chunk
            if max_bytes is not None and len(data) > max_bytes:
                raise StorageError(f"{self.shown(path)}: larger than the {max_bytes} bytes allowed here")
        return bytes(data)

    def _chunks(self, path: str) -> Iterator[bytes]:
        """Yield a file's content.

        On S3 pyarrow asks for the size first and the content after. When the object is replaced in between,
        the content is cut off, or filled up with whatever was in memory; so its stamp is compared at the end.
        """
        with self._telling("read", path):
            with self._reading(path) as stream:
                stamp = stream.metadata()
                while chunk := stream.read(_CHUNK):
                    yield chunk
            if not self.is_local and self._stamp(path) != stamp:
                raise _ReplacedError(f"{self.shown(path)}: replaced while it was read; try again")

    def _remote_stamp(self, path: str) -> str | None:
        with contextlib.suppress(MissingError), self._telling("look up", path):
            with self._reading(path) as stream:
                etag = stream.metadata().get("ETag")  # of the content; a time of change may be in whole seconds
            info = None if etag else self._info(path)
            return f"{info.size} {info.mtime_ns}" if info else etag.decode()
        return None

    def _stamp(self, path: str) -> Any:
        with self._reading(path) as stream:
            return stream.metadata()

    def _reading(self, path: str) -> pa.NativeFile:
        # pyarrow would unpack a file named .gz without being asked
        return self.filesystem.open_input_stream(self.path_of(path), compression=None)

    def _publish(self, path: str, chunks: Iterable[bytes]) -> None:
        with self._telling("write", path):
            if self.is_local:
                _publish_local(Path(self.path_of(path)), chunks)
            else:
                with self.filesystem.open_output_stream(self.path_of(path), compression=None) as stream:
                    for chunk in chunks:
                        stream.write(chunk)

    def _upload_file(self, source: Path, path: str) -> None:
        try:
            with self._telling("upload", path), source.open("rb") as file:
                self._publish(path, iter(functools.partial(file.read, _CHUNK), b""))
        except BaseException:
            if not self.is_local:
                # pyarrow cannot abort: leaving its stream published the part written so far
                self.remove(path)
            raise

    def _download_file(self, path: str, target: Path) -> None:
        with self._telling("download", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(self._chunks(path))

    def _select(self, path: str, selector: pafs.FileSelector) -> Sequence[pafs.FileInfo]:
        with self._telling("list", path):
            found = self.filesystem.get_file_info(selector)
        return [info for info in found if not _LOCAL_PART.fullmatch(info.base_name)]

    def _info(self, path: str) -> pafs.FileInfo:
        return self.filesystem.get_file_info(self.path_of(path))

    def _refuse_missing_bucket(self) -> None:
        """Refuse a bucket that is surely missing, for reading from one looks like reading an empty store."""
        if self.exists(""):
            return
        bucket = self.path_of("").partition("/")[0]
        with contextlib.suppress(OSError):  # credentials may be confined to a prefix of the bucket
            if self.filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
                raise StorageError(f"{self}: there is no bucket {bucket!r}; create it, or correct the URI")

    @contextlib.contextmanager
    def _telling(self, verb: str, path: str) -> Iterator[None]:
        """Turn what the filesystem raises into a StorageError that names the URI."""
        try:
            yield
        except FileNotFoundError as error:
            raise MissingError(f"{self.shown(path)}: cannot {verb}: no such file or folder") from error
        except (OSError, pa.ArrowException) as error:
            reason = _reason(error, self.uri)
            advice = "check the URI, the credentials and what they allow"
            raise StorageError(f"{self.shown(path)}: cannot {verb}: {reason}; {advice}") from None


class MissingError(StorageError):
    """There is no such file or folder."""


class _ReplacedError(StorageError):
    """An object was replaced between the first and the last request of reading it."""


def patiently(write: Callable[[], None], tell: Callable[[str], None], pauses_s: Sequence[float] = PAUSES_S) -> None:
    """Write what a store may refuse for a while, again after each pause; the last refusal is raised.

    Args:
        tell: is given a line for a person before the first pause.

    Raises:
        StorageError: it was refused every time.
    """
    for tried, pause_s in enumerate(pauses_s):
        try:
            return write()
        except StorageError as error:
            if tried == 0:
                tell(f"warning: {error}; trying again for {sum(pauses_s):g} s")
            time.sleep(pause_s)
    return write()


def inside(path: str) -> str:
    """Return ``path`` without empty and ``.`` segments, ``""`` for the root; refuse one that leaves it."""
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    if path.startswith("/") or ".." in segments or any(mark in path for mark in "\\\0"):
        raise StorageError(f"{path!r} is no path inside a storage root: make it relative, without .. and \\")
    return "/".join(segments)


def _publish_local(target: Path, chunks: Iterable[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _link_local(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        try:
            part.hardlink_to(source)
        except OSError:  # some filesystems have no links
            shutil.copyfile(source, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _regular_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StorageError(f"{folder}: cannot upload: no such folder")
    found = sorted(path for path in folder.rglob("*") if not path.is_dir())
    for path in found:
        if not path.is_file():
            raise StorageError(f"{path}: cannot upload: not a regular file")
    return found


def stamp_of(path: Path) -> str | None:
    """Return what `Root.stamps` says of a file on a disk: its size, and when content and entry were last changed."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def local_cache() -> Path:
    """Return the folder of this machine where copies from remote roots are kept: ``THAW_CACHE`` or ~/.cache/thaw."""
    return Path(os.environ.get("THAW_CACHE", "~/.cache/thaw")).expanduser()
