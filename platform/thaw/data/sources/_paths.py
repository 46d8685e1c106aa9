"""Paths as files of labels and layouts of folders have them, and the small texts that they lead to."""

from pathlib import PurePosixPath

from thaw.data.files import Folder
from thaw.data.sources.contract import BadLabel, given_split
from thaw.errors import DataError


def split_of(path: str, folder: str) -> str | None:
    """Return the split that the first folder on the way from ``folder`` to a file in it is named for, if so."""
    parts = PurePosixPath(path).relative_to(folder).parts
    return given_split(parts[0]) if len(parts) > 1 else None


def check_inside(name: str, place: str) -> str:
    """Return a relative path as it is.

    Raises:
        DataError: it leaves the folder that it is relative to.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{place}: {name!r} leaves the folder of the images; paths must be relative to it")
    return name


_MOST = 16 * 2**20
"""Bytes of the boxes of one image, which take a few hundred."""


def read_boxes(folder: Folder, path: str) -> bytes:
    """Return what a file with the boxes of one image holds.

    Raises:
        OSError: it cannot be read.
        BadLabel: it is far larger than such files are.
    """
    content = folder.read(path, _MOST + 1)
    if len(content) > _MOST:
        raise BadLabel("boxes_unreadable", f"{path} has more than the {_MOST:,} bytes that are allowed")
    return content
