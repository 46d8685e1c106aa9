"""Tables of images: CSV files and JSON lines, as rows of cells; what a cell means is not said here."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TextIO

from thaw.data.files import Folder
from thaw.data.sources.contract import given_split
from thaw.errors import DataError

ENDINGS = (".csv", ".jsonl")
MASK_ENDING = "_file_name"
"""How the names of columns end that may name masks."""


def tables(folder: Folder) -> list[str]:
    """Return the tables at the top of a folder, or, where there is none, in its folders that are named for splits."""
    parts = [name for name in folder.folders() if given_split(name)]
    inner = [f"{part}/{name}" for part in parts for name in folder.names(part)]
    return [name for name in folder.names() if name.endswith(ENDINGS)] or [
        name for name in inner if name.endswith(ENDINGS)
    ]


def split_said(table: str) -> str | None:
    """Return the split that the name of a table says, or else that of its folder."""
    path = PurePosixPath(table)
    return given_split(path.stem) or given_split(path.parent.name)


def rows(folder: Folder, table: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, row) of a table.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with io.TextIOWrapper(io.BytesIO(folder.read(table)), encoding="utf-8-sig", newline="") as file:
            yield from _of_csv(file) if table.endswith(".csv") else _of_json_lines(file)
    except _BadLine as error:
        raise DataError(f"{table}:{error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: cannot be read as a table: {error}") from None


class _BadLine(Exception):  # noqa: N818
    pass


def _of_csv(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            if None in row:
                raise _BadLine(f"{reader.line_num}: has more cells than there are columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise _BadLine(f"{reader.reader.line_num}: not CSV: {error}") from None


def _of_json_lines(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(file, start=1):
        if text.strip():
            try:
                row = _object(text)
            except json.JSONDecodeError as error:
                raise _BadLine(f"{line}: not JSON: {error.msg} at character {error.colno}") from None
            except ValueError as error:
                raise _BadLine(f"{line}: {error}") from None
            yield line, row


def _object(text: str) -> Mapping[str, Any]:
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError(f"a line holds {type(row).__name__}, not an object")
    return row
