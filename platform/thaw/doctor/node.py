"""What one node looks like from inside: read by a process that Ray started there. Nothing here knows Ray."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import thaw

_SHM = Path("/dev/shm")  # noqa: S108 - shared memory itself
_ASK_GPUS = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
_TIMEOUT_S = 10
_CONNECT_S = 3
PACKAGES = ("ray", "torch", "torchvision", "timm")


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver tells of it."""

    name: str
    memory_mib: int
    driver: str


@dataclass(frozen=True)
class Disk:
    """A place that is written to, and the disk below it, in bytes.

    Attributes:
        refusal: why nothing can be written there; empty where it can.
    """

    path: str
    total: int
    free: int
    refusal: str


@dataclass(frozen=True)
class Seen:
    """What was seen on a node.

    Attributes:
        versions: package -> version, ``python`` among them.
        package: where its thaw is imported from.
        shm: bytes of shared memory; None where there is no /dev/shm.
        auth: RAY_AUTH_MODE; empty where it is not set.
        weights: why the weights that were asked for are not reachable; empty where they are; None where none were.
    """

    versions: Mapping[str, str]
    package: str
    shm: int | None
    disks: Sequence[Disk]
    gpus: Sequence[Gpu]
    auth: str
    weights: str | None


@dataclass(frozen=True)
class Wanted:
    """Weights to look for: one of the three is given.

    Attributes:
        module: of an installed package.
        url: of a hub.
        path: of a file.
    """

    module: str | None = None
    url: str | None = None
    path: str | None = None


def look(folders: Sequence[str], wanted: Wanted | None) -> Seen:
    """Return what is seen on this node.

    Args:
        folders: where Ray and Thaw write to, beside the storage root.
        wanted: weights to look for.
    """
    return Seen(
        versions=versions(),
        package=str(Path(str(thaw.__file__)).parent),
        shm=shutil.disk_usage(_SHM).total if _SHM.is_dir() else None,
        disks=[_disk(folder) for folder in folders],
        gpus=_gpus(),
        auth=os.environ.get("RAY_AUTH_MODE", ""),
        weights=_missing(wanted) if wanted else None,
    )


def versions() -> dict[str, str]:
    """Return what has to be the same on every node: thaw, python and the packages that training stands on."""
    found = {"thaw": thaw.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def unreachable(places: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return which of these places, each a name, a host and a port, take no connection from this node."""
    refused = []
    for name, host, port in places:
        try:
            socket.create_connection((host, port), timeout=_CONNECT_S).close()
        except OSError as error:
            refused.append(f"{name} at {host}:{port} ({error})")
    return refused


def _disk(folder: str) -> Disk:
    refusal = ""
    try:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".thaw-doctor-{os.getpid()}"
        probe.write_bytes(b"written")
        probe.unlink()
    except OSError as error:
        refusal = str(error)
    there = next(one for one in (Path(folder), *Path(folder).parents) if one.exists())
    usage = shutil.disk_usage(there)
    return Disk(folder, usage.total, usage.free, refusal)


def _gpus() -> list[Gpu]:
    """Return the GPUs that the driver knows, whether or not this process may use them."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            _ASK_GPUS, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [Gpu(row[0], int(row[1]) if row[1].isdigit() else 0, row[2]) for row in rows if len(row) == 3]


def _missing(wanted: Wanted) -> str:
    """Return why weights cannot be had here; empty where they can."""
    if wanted.module:
        return "" if importlib.util.find_spec(wanted.module) else f"{wanted.module} is not installed"
    if wanted.path:
        return "" if os.access(wanted.path, os.R_OK) else f"{wanted.path} cannot be read"
    return _unanswered(str(wanted.url))


def _unanswered(url: str) -> str:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - of a hub, over https
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return ""  # whatever it said, it answered
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"
    return ""
