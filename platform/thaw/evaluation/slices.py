"""Slices: figures of the images that share a property, such as a camera or a site, read from a table beside them.

A model that is good on the whole can be bad where it matters. Properties come from a CSV file that names images as
answers do, so that nothing about them has to be known when a dataset is prepared.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from thaw.config.experiment import Slices
from thaw.errors import DataError
from thaw.storage import Root, open_root

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


def read(options: Slices) -> dict[str, dict[str, str]]:
    """Return what a table says of images.

    Raises:
        DataError: there is no such file or column, or it is too large.
    """
    folder, _, name = options.path.rpartition("/")
    text = _text(open_root(folder or "."), name)
    rows = csv.DictReader(io.StringIO(text))
    missing = [one for one in (options.image, *options.columns) if one not in (rows.fieldnames or ())]
    if missing:
        raise DataError(
            f"evaluate.slices: {options.path} has no column {missing[0]!r}; it has {', '.join(rows.fieldnames or ())}"
        )
    found: dict[str, dict[str, str]] = {column: {} for column in options.columns}
    for row in rows:
        for column in options.columns:
            found[column][row[options.image]] = (row[column] or "").strip() or UNKNOWN
    return found


def _text(root: Root, name: str) -> str:
    if not root.exists(name):
        raise DataError(f"evaluate.slices.path: {root.shown(name)} does not exist; name a CSV file")
    if root.size(name) > _MOST_BYTES:
        raise DataError(f"evaluate.slices.path: {root.shown(name)} is larger than {_MOST_BYTES // 2**20} MiB")
    try:
        return root.read_bytes(name, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"evaluate.slices.path: {root.shown(name)} is not a text in UTF-8; save it as CSV") from None


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
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    return [
        UNKNOWN if text == UNKNOWN else names[int(np.searchsorted(edges[1:-1], numbers[text] or 0.0, side="right"))]
        for text in known
    ]


def _frequent(known: Sequence[str]) -> list[str]:
    kept = {text for text, _ in Counter(known).most_common(_VALUES)} | {UNKNOWN}
    return [text if text in kept else _REST for text in known]
