"""What is refused before a job is handed over: it would fail there later, or in silence."""

from pathlib import Path
from urllib.parse import urlsplit

from thaw.errors import ClusterError
from thaw.storage import redacted
from thaw.submission.work import Work

_HERE = ("127.0.0.1", "localhost", "::1")


def check_storage(work: Work, address: str, nodes: int, shared: bool) -> None:
    """Refuse a storage root, and other places, that the nodes of a cluster do not share.

    Args:
        address: of the dashboard.
        nodes: of the cluster.
        shared: whether the user says that a path leads to the same place everywhere.

    Raises:
        ClusterError: it is a path, and the cluster has several nodes or is elsewhere.
    """
    for place, uri in {"storage.root": work.storage, **work.others}.items():
        if uri is not None and not uri.startswith(("s3://", "gs://")):
            _check_path(place, uri, address, nodes, shared)


def _check_path(place: str, uri: str, address: str, nodes: int, shared: bool) -> None:
    path = uri.removeprefix("file://")
    if not Path(path).expanduser().is_absolute():
        raise ClusterError(
            f"{place}: {redacted(uri)!r} is relative to the folder of a job, which Ray deletes; give a path or "
            "URI that every node reaches, such as s3://bucket/thaw"
        )
    elsewhere = urlsplit(address).hostname not in _HERE
    if (nodes > 1 or elsewhere) and not shared:
        where = f"has {nodes} nodes" if nodes > 1 else f"is at {address}"
        raise ClusterError(
            f"{place}: {path} is a folder of each node's own, as far as can be told, and the cluster {where}; use "
            "s3:// or gs://, or say --shared-path where the same network folder is mounted there on every node "
            "(`thaw doctor` tries it)"
        )


def check_versions(here: str, there: str | None) -> None:
    """Refuse a cluster whose Ray is of another minor version than this one.

    Raises:
        ClusterError: it is.
    """
    if there and here.split(".")[:2] != there.split(".")[:2]:
        raise ClusterError(
            f"Ray {here} is installed here and Ray {there} runs on the cluster; install ray=={there} here, or start "
            "the cluster from an image of this version"
        )
