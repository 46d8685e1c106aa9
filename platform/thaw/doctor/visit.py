"""A visit of one node to the storage root: it looks for what the driver wrote, writes, reads and removes."""

import os
import secrets
from dataclasses import dataclass

from thaw.errors import StorageError
from thaw.storage import Root


@dataclass(frozen=True)
class Visit:
    """What came of it.

    Attributes:
        name: of the file that it left in the folder.
        refusal: what went wrong; empty where nothing did.
    """

    name: str
    refusal: str
    saw_driver: bool


def come(root: Root, folder: str) -> Visit:
    """Write a file into the folder and read it again, and say whether the driver's is there."""
    name, content = f"{os.getpid()}-{secrets.token_hex(4)}", secrets.token_bytes(1024)
    try:
        root.write_bytes(f"{folder}/{name}", content)
        same = root.read_bytes(f"{folder}/{name}") == content
        return Visit(name, "" if same else "read something else than it wrote", root.exists(f"{folder}/driver"))
    except StorageError as error:
        return Visit(name, str(error), saw_driver=False)


def go(root: Root, folder: str, name: str) -> str:
    """Remove what was left, and return what went wrong; empty where nothing did."""
    try:
        root.remove(f"{folder}/{name}")
        return "is still there after it was removed" if root.exists(f"{folder}/{name}") else ""
    except StorageError as error:
        return str(error)
