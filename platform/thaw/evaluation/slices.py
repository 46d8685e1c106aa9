"""Slices: figures of the images that share a property, such as a camera or a site, read from a table beside them.

A model that is good on the whole can be bad where it matters. Properties come from a CSV file that names images as
answers do, so that nothing about them has to be known when a dataset is prepared.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from thaw.config.experiment import Slices
from thaw.errors import DataError
from thaw.storage import file_in, redacted

UNKNOWN = "(no row)"
"""Slice of the images that the table does not name."""
_MOST_BYTES = 256 * 2**20
_NUMBERS = 8
"""Different numbers up to which each is a slice of its own; more are cut into quarters."""
_VALUES = 20
"""Values of a column that are told apart, the most frequent ones."""
_REST = "(others)"

Columns = Mapping[str, Mapping[str, str]]
"""Column -> image id -> value."""


def read(options: Slices, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what a table says of images.

    Args:
        ids: of the images that are measured; others are passed over.

    Raises:
        DataError: there is no such table or column, it is too large, or it names none of the images, or one twice.
        StorageError: it cannot be read.
    """
    found: dict[str, dict[str, str]] = {column: {} for column in options.columns}
    wanted = set(ids)
    for row in _rows(options):
        image = row[options.image]
        if image not in wanted:
            continue
        if image in found[options.columns[0]]:
            raise DataError(f"{_said(options)}: {image!r} comes a second time; keep one line")
        for column in options.columns:
            found[column][image] = (row[column] or "").strip() or UNKNOWN
    if not found[options.columns[0]]:
        raise DataError(
            f"{_said(options)} names none of the {len(ids):,} images, such as {ids[0]!r}, in column {options.image}; "
            "set evaluate.slices.image to the column that does"
        )
    return found


def _rows(options: Slices) -> Iterator[dict[str, str]]:
    root, name = file_in(options.path)
    if not root.exists(name):
        raise DataError(f"{_said(options)} does not exist; name a CSV file")
    try:
        text = root.read_bytes(name, _MOST_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = [one for one in (options.image, *options.columns) if one not in (rows.fieldnames or ())]
        if missing:
            has = ", ".join(rows.fieldnames or ()) or "none"
            raise DataError(f"{_said(options)} has no column {missing[0]!r}; it has {has}")
        yield from rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{_said(options)} is not CSV in UTF-8: {error}") from None


def _said(options: Slices) -> str:
    return f"evaluate.slices.path: {redacted(options.path)}"


def cut(values: Mapping[str, str], ids: Sequence[str]) -> dict[str, list[int]]:
    """Return slice -> rows, in order of their values; numbers in quarters where there are many different ones.

    Args:
        values: image id -> value.
        ids: of the images, by row.
    """
    known = [values.get(image, UNKNOWN) for image in ids]
    named = _quarters(known) or _frequent(known)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(named):
        rows.setdefault(name, []).append(row)
    return dict(sorted(rows.items(), key=lambda one: (one[0] in (_REST, UNKNOWN), _order(one[0]))))


def _order(name: str) -> tuple[float, str]:
    number = _number(name.partition(" to ")[0])
    return (float("inf") if number is None else number, name)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _quarters(known: Sequence[str]) -> list[str]:
    """Return the quarter in which each number lies; nothing where values are no numbers, or few."""
    numbers = {text: _number(text) for text in set(known) - {UNKNOWN}}
    told = [number for number in numbers.values() if number is not None]
    if len(told) < len(numbers) or len(told) <= _NUMBERS:
        return []
    every = [numbers[text] for text in known if text != UNKNOWN]
    edges = np.unique(np.quantile(np.array(every, dtype=np.float64), [0, 0.25, 0.5, 0.75, 1]))
    names = [f"{low} to {high}" for low, high in pairwise(_told(edges.tolist()))]
    return [
        UNKNOWN if text == UNKNOWN else names[int(np.searchsorted(edges[1:-1], numbers[text] or 0.0, side="right"))]
        for text in known
    ]


def _told(edges: Sequence[float]) -> list[str]:
    """Return numbers in as few digits, from four on, as tell them apart."""
    written = (
        [np.format_float_positional(edge, digits, fractional=False, trim="-") for edge in edges]
        for digits in range(4, 18)
    )
    return next(one for one in written if len(set(one)) == len(edges))


def _frequent(known: Sequence[str]) -> list[str]:
    kept = {text for text, _ in Counter(known).most_common(_VALUES)} | {UNKNOWN}
    return [text if text in kept else _REST for text in known]
