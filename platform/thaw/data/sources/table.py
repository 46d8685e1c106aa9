"""table: a CSV file, or ``metadata.jsonl`` as in the Hugging Face imagefolder convention, with label columns.

One row an image: ``file_name`` is relative to the table, any other column may hold a task's labels. Several
tables together, such as train.csv, val.csv and test.csv, give the split by their names.

In JSON lines a cell ``{"bbox": [[x, y, width, height], ...], "categories": [name, ...]}`` holds boxes, in pixels of the
upright image: none where the lists are empty, no label where the cell is null. A column ``mask_file_name`` names a
mask, a picture of one value a pixel relative to the table, and is offered as ``mask``; likewise any other column whose
name ends so. The option ``mask_values`` says what the values mean; without it, such a column is one like others.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TextIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thaw.data.sources import contract
from thaw.data.sources._files import read_mask, stamps
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
    """A .csv or .jsonl file, or a folder with such files at its top, on a disk that every node reaches."""
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

    def references(self) -> Iterator[Reference]:
        tables = self._tables()
        named = {table: given_split(table.stem) for table in tables}
        empty = True
        for table in tables:
            for line, row in _rows(table):
                empty = False
                yield self._reference(row, f"{table.name}:{line}", named[table])

        if empty:
            raise DataError(f"data.source.path: {self.options.path} names no image; a table has one row an image")

    def open(self, image_id: str) -> BinaryIO:
        return (self._folder() / image_id).open("rb")

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return stamps(self._folder(), ids)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        return read_mask(self._folder() / mask_id, width, height)

    def _folder(self) -> Path:
        path = Path(self.options.path)
        return path if path.is_dir() else path.parent

    def _tables(self) -> list[Path]:
        path = Path(self.options.path)
        found = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
        tables = [table for table in found if table.suffix in _TABLES and not table.name.startswith(".")]
        if not tables:
            raise DataError(f"data.source.path: {path} is neither a {' or '.join(_TABLES)} file nor a folder with one")
        return tables

    def _reference(self, row: Mapping[str, Any], place: str, split: str | None) -> Reference:
        options: Options = self.options
        name = row.get(options.file_column)
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{place}: no image in column {options.file_column!r}; the columns are {', '.join(row)} "
                "(set data.source.file_column)"
            )
        group = row.get(options.group_column) if options.group_column else None
        said = row.get(options.split_column)
        return Reference(
            id=_inside(name, place),
            labels=self._labels(row, place),
            split=(given_split(said) or said) if isinstance(said, str) and said else split,
            group=None if group in (None, "") else str(group),
        )

    def _labels(self, row: Mapping[str, Any], place: str) -> dict[str, RawLabel]:
        labels: dict[str, RawLabel] = {}
        for key in row:
            if key == self.options.file_column:
                continue
            column, label = self._column(key, row[key], place)
            if column in labels:
                both = f"{column!r} and {column + _FILE!r}"
                raise DataError(f"{place}: columns {both} would both be offered as {column!r}; rename one of them")
            labels[column] = label
        return labels

    def _column(self, key: str, value: Any, place: str) -> tuple[str, RawLabel]:
        """Return a cell's column, as it is offered, with what the cell holds."""
        if self.options.mask_values and key.endswith(_FILE) and len(key) > len(_FILE):
            named = isinstance(value, str) and value
            mask = RawMask(_inside(value, place), self.options.mask_values) if named else None
            return key.removesuffix(_FILE), mask
        if isinstance(value, dict) and value.keys() >= {"bbox", "categories"}:
            return key, _boxes(value, f"{place}: column {key!r}")
        return key, self._label(value)

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


def _inside(name: str, place: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{place}: {name!r} leaves the folder of the table; image paths must be relative to it")
    return as_text(Path(name).as_posix())


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


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, row) of a table."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            yield from _of_csv(file) if table.suffix == ".csv" else _of_json_lines(file)
    except _BadLine as error:
        raise DataError(f"{table.name}:{error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table.name}: cannot be read as a table: {error}") from None


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
