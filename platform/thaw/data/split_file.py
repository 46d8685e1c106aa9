"""Split files: a CSV of ``id`` and ``split`` that says on which side each image of a source lies."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from thaw.data.sources.contract import Reference, given_split
from thaw.errors import DataError
from thaw.storage import file_in, redacted

_COLUMNS = ("id", "split")
_MOST_BYTES = 2**30


def write(file: str, sides: Mapping[str, str]) -> None:
    """Write a split.

    Args:
        file: a path, or a URI of a kind that a storage root may have.
        sides: image id -> train, val or test.

    Raises:
        StorageError: it cannot be written there.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(sides.items())
    root, name = file_in(file)
    root.write_bytes(name, text.getvalue().encode())


def read(file: str) -> dict[str, str]:
    """Return image id -> train, val or test.

    Raises:
        DataError: it is no such table, names an image twice or says another word for a split.
        StorageError: it cannot be read.
    """
    root, name = file_in(file)
    sides: dict[str, str] = {}
    try:
        rows = csv.reader(io.StringIO(root.read_bytes(name, _MOST_BYTES).decode("utf-8-sig"), newline=""), strict=True)
        if tuple(next(rows, ())) != _COLUMNS:
            raise DataError(f"{_said(file)} does not begin with a line {','.join(_COLUMNS)}")
        for row in rows:
            image, side = _row(file, row, rows.line_num)
            if image in sides:
                raise DataError(f"{_said(file)}, line {rows.line_num}: {image!r} comes a second time; keep one line")
            sides[image] = side
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{_said(file)} is not CSV in UTF-8: {error}") from None
    return sides


def put_on(references: Iterable[Reference], file: str | None) -> Iterator[Reference]:
    """Yield images with the split that a file says, or as they are without one.

    Raises:
        DataError: as `read`, and in the end, if the file has no line for some image.
    """
    if file is None:
        yield from references
        return
    sides, counts, first = read(file), Counter[bool](), ""
    for one in references:
        counts[one.id in sides] += 1
        first = first if one.id in sides or first else one.id
        yield replace(one, split=sides.get(one.id))
    if counts[False]:
        raise DataError(
            f"{_said(file)} has no line for {counts[False]:,} of {counts.total():,} images of the source, such as "
            f"{first!r}; add them, or leave data.split.file out"
        )


def _row(file: str, row: list[str], line: int) -> tuple[str, str]:
    side = given_split(row[1]) if len(row) == len(_COLUMNS) else None
    if side is None:
        raise DataError(f"{_said(file)}, line {line}: {','.join(row)!r} is not an image and train, val or test")
    return row[0], side


def _said(file: str) -> str:
    return f"data.split.file: {redacted(file)}"
