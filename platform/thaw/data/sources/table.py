"""table: a CSV file, or ``metadata.jsonl`` as in the Hugging Face imagefolder convention, with label columns.

One row an image: ``file_name`` is relative to the table, any other column may hold a task's labels. Several
tables together, such as train.csv, val.csv and test.csv, or train/metadata.jsonl and test/metadata.jsonl, give the
split by their names or their folders'.

In JSON lines a cell ``{"bbox": [[x, y, width, height], ...], "categories": [name, ...]}`` holds boxes, in pixels of the
upright image: none where the lists are empty, no label where the cell is null. A column ``mask_file_name`` names a
mask, a picture of one value a pixel relative to the table, and is offered as ``mask``; likewise any other column whose
name ends so. The option ``mask_values`` says what the values mean; without it, such a column is one like others.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thaw.catalog import did_you_mean
from thaw.data.files import Folder, located
from thaw.data.sources import _table_guess, contract
from thaw.data.sources._mask_picture import read_mask
from thaw.data.sources._rows import ENDINGS, MASK_ENDING, rows, split_said, tables
from thaw.data.sources.contract import (
    RawBoxes,
    RawLabel,
    RawMask,
    Recognised,
    Reference,
    SourceOptions,
    Thing,
    as_text,
    given_split,
    split_in,
)
from thaw.errors import DataError


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
        columns = set[str]()
        for table, split in self._tables().items():
            for line, row in rows(self._folder, table):
                columns.update(row)
                yield self._reference(row, table, line, split)

        if not columns:
            raise DataError(f"data.source.path: {self._place} names no image; a table has one row an image")
        for option in ("group_column", "split_column"):
            self._check_is_there(option, columns)

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._folder.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return self._folder.stamps(ids)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        return read_mask(self._folder, mask_id, (width, height))

    def _check_is_there(self, option: str, columns: Collection[str]) -> None:
        """Refuse a column that was asked for and that no row has: without it, images would be divided otherwise."""
        asked = getattr(self.options, option)
        if asked not in (Options.model_fields[option].default, *columns):
            known, hint = ", ".join(sorted(columns)), did_you_mean(asked, sorted(columns))
            raise DataError(f"data.source.{option}: {self._place} has no column {asked!r}; it has {known}{hint}")

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
        found = [name] if name.endswith(ENDINGS) else [] if name else tables(self._folder)
        if not found:
            raise DataError(
                f"data.source.path: {self._place} is neither a {' or '.join(ENDINGS)} file nor a folder with one"
            )
        within = {table: split_said(table) or split_in(PurePosixPath(table).stem) for table in found}
        if len(found) > 1 and all(within.values()):  # train_labels.csv beside test_labels.csv
            return within
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
                both = f"{column!r} and {column + MASK_ENDING!r}"
                raise DataError(f"{place}: columns {both} would both be offered as {column!r}; rename one of them")
            labels[column] = label
        return labels

    def _column(self, key: str, value: Any, table: str, place: str) -> tuple[str, RawLabel]:
        """Return a cell's column, as it is offered, with what the cell holds."""
        if self.options.mask_values and key.endswith(MASK_ENDING) and len(key) > len(MASK_ENDING):
            named = isinstance(value, str) and value
            mask = RawMask(self._path(value, table, place), self.options.mask_values) if named else None
            return key.removesuffix(MASK_ENDING), mask
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


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for a table whose rows name images that are there.

    Raises:
        DataError: rows name images, and none of them is there.
    """
    return _table_guess.recognise(folder)
