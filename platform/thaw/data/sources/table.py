"""table: a CSV file, or ``metadata.jsonl`` as in the Hugging Face imagefolder convention, with label columns.

One row an image: ``file_name`` is relative to the table, any other column may hold a task's labels. Several
tables together, such as train.csv, val.csv and test.csv, or train/metadata.jsonl and test/metadata.jsonl, give the
split by their names or their folders'.

In JSON lines a cell ``{"bbox": [[x, y, width, height], ...], "categories": [name, ...]}`` holds boxes, in pixels of the
upright image: none where the lists are empty, no label where the cell is null. A column ``mask_file_name`` names a
mask, a picture of one value a pixel relative to the table, and is offered as ``mask``; likewise any other column whose
name ends so. The option ``mask_values`` says what the values mean; without it, such a column is one like others.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thaw.data.files import Folder, located
from thaw.data.sources import contract
from thaw.data.sources._mask_picture import read_mask
from thaw.data.sources.contract import (
    RawBoxes,
    RawLabel,
    RawMask,
    Reference,
    SourceOptions,
    Thing,
    as_text,
    given_split,
)
from thaw.errors import DataError

_TABLES = (".csv", ".jsonl")
_FILE = "_file_name"


class Options(SourceOptions):
    """A table of images, or a folder that holds such tables."""

    type: Literal["table"]
    path: str
    """A .csv or .jsonl file, or a folder with such files at its top, or in its folders train, val and test; on a disk
    that every node reaches, or s3:// or gs://."""
    images: str = "."
    """Folder that the images' paths are relative to, itself relative to the table."""
    file_column: str = "file_name"
    """Column of the image's path, relative to the table."""
    split_column: str = "split"
    """Column that says train, val or test, where there is one."""
    group_column: str | None = None
    """Column of a group whose images never fall into different splits, such as a patient or a product."""
    separator: str = Field(";", min_length=1, max_length=1)
    """Between the names of a set of classes in one CSV cell."""
    mask_values: dict[Annotated[int, Field(ge=0, le=255)], str] = Field({})
    """What the values of masks mean, such as {0: background, 1: scratch}; 255 has no label unless it is named.

    Left out, no column holds masks."""


class Source(contract.Source):
    """The images that the tables name."""

    options: Options

    def references(self) -> Iterator[Reference]:
        empty = True
        for table, split in self._tables().items():
            for line, row in rows(self._folder, table):
                empty = False
                yield self._reference(row, table, line, split)

        if empty:
            raise DataError(f"data.source.path: {self._place} names no image; a table has one row an image")

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._folder.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return self._folder.stamps(ids)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        return read_mask(self._folder, mask_id, (width, height))

    @cached_property
    def _located(self) -> tuple[Folder, str]:
        return located(self.options.path)

    @property
    def _folder(self) -> Folder:
        return self._located[0]

    @property
    def _place(self) -> str:
        return self._folder.shown(self._located[1])

    def _tables(self) -> dict[str, str | None]:
        """Return the tables with the split that their names say."""
        if ".." in PurePosixPath(self.options.images).parts or self.options.images.startswith("/"):
            raise DataError(f"data.source.images: {self.options.images!r} leaves the folder of the table")
        name = self._located[1]
        found = [name] if name.endswith(_TABLES) else [] if name else tables(self._folder)
        if not found:
            raise DataError(
                f"data.source.path: {self._place} is neither a {' or '.join(_TABLES)} file nor a folder with one"
            )
        return {table: split_said(table) for table in found}

    def _reference(self, row: Mapping[str, Any], table: str, line: int, split: str | None) -> Reference:
        options, place = self.options, f"{table}:{line}"
        name = row.get(options.file_column)
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{place}: no image in column {options.file_column!r}; the columns are {', '.join(row)} "
                "(set data.source.file_column)"
            )
        group = row.get(options.group_column) if options.group_column else None
        said = row.get(options.split_column)
        return Reference(
            id=self._path(name, table, place, self.options.images),
            labels=self._labels(row, table, place),
            split=(given_split(said) or said) if isinstance(said, str) and said else split,
            group=None if group in (None, "") else str(group),
        )

    def _labels(self, row: Mapping[str, Any], table: str, place: str) -> dict[str, RawLabel]:
        labels: dict[str, RawLabel] = {}
        for key in row:
            if key == self.options.file_column:
                continue
            column, label = self._column(key, row[key], table, place)
            if column in labels:
                both = f"{column!r} and {column + _FILE!r}"
                raise DataError(f"{place}: columns {both} would both be offered as {column!r}; rename one of them")
            labels[column] = label
        return labels

    def _column(self, key: str, value: Any, table: str, place: str) -> tuple[str, RawLabel]:
        """Return a cell's column, as it is offered, with what the cell holds."""
        if self.options.mask_values and key.endswith(_FILE) and len(key) > len(_FILE):
            named = isinstance(value, str) and value
            mask = RawMask(self._path(value, table, place), self.options.mask_values) if named else None
            return key.removesuffix(_FILE), mask
        if isinstance(value, dict) and value.keys() >= {"bbox", "categories"}:
            return key, _boxes(value, f"{place}: column {key!r}")
        return key, self._label(value)

    def _path(self, name: str, table: str, place: str, folder: str = "") -> str:
        """Return the path of a file that a table names, from the folder of the source on."""
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"{place}: {name!r} leaves the folder of the table; image paths must be relative to it")
        return as_text((PurePosixPath(table).parent / folder / name).as_posix())

    def _label(self, value: Any) -> RawLabel:
        """Return a cell as a class name, a set of names, or None where it is empty or not a label at all."""
        if value is None or value == "" or isinstance(value, dict):
            return None
        if isinstance(value, list):
            return tuple(str(name) for name in value)
        if isinstance(value, bool):
            return str(value).lower()
        text = str(value).strip()
        if self.options.separator in text:
            return tuple(name.strip() for name in text.split(self.options.separator) if name.strip())
        return text or None


def tables(folder: Folder) -> list[str]:
    """Return the tables at the top of a folder, or, where there is none, in its folders that are named for splits."""
    parts = [name for name in folder.folders() if given_split(name)]
    inner = [f"{part}/{name}" for part in parts for name in folder.names(part)]
    return [name for name in folder.names() if name.endswith(_TABLES)] or [
        name for name in inner if name.endswith(_TABLES)
    ]


def split_said(table: str) -> str | None:
    """Return the split that the name of a table says, or else that of its folder."""
    path = PurePosixPath(table)
    return given_split(path.stem) or given_split(path.parent.name)


def _boxes(cell: Mapping[str, Any], place: str) -> RawBoxes:
    """Return the boxes in a cell."""
    boxes, names = cell["bbox"], cell["categories"]
    if not isinstance(boxes, list) or not isinstance(names, list) or len(boxes) != len(names):
        raise DataError(f"{place}: bbox and categories must be lists of the same length")
    for box in boxes:
        if not (isinstance(box, list) and len(box) == 4 and all(_is_number(edge) for edge in box)):
            raise DataError(f"{place}: a box is {box!r}, not four numbers x, y, width, height")
    edges = tuple((float(x), float(y), float(x) + width, float(y) + height) for x, y, width, height in boxes)
    return RawBoxes(edges, tuple(str(name) for name in names))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
