"""What a table's columns are for, guessed from their names and cells."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from thaw.data.files import Folder, is_picture
from thaw.data.sources import _mask_values
from thaw.data.sources._rows import MASK_ENDING, rows, split_said, tables
from thaw.data.sources.contract import Recognised, given_split
from thaw.errors import DataError

_USUAL = ("file_name", "filename", "file", "image", "image_path", "image_name", "path", "img")
"""What columns of images are called, the likeliest first."""
_GROUP = re.compile(
    r"(patient|subject|case|serial|scene|session|video|sequence|specimen|slide|lot|person|user|group|burst|series)"
    r"(_?(id|no|nr|num|number|name))?",
    re.IGNORECASE,
)
"""What columns are called whose rows belong together."""
_TRIED = 40
"""Rows, evenly spread, whose images are looked for."""
_ENOUGH = 0.8
"""Share of these whose images must be there for a table to be taken at its word."""
_SEPARATORS = (";", "|", ",")
_FEW = 64
"""Classes up to which a column may name the values of masks."""

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Table:
    """A table whose rows name images.

    Attributes:
        column: of the images' paths.
        images: folder that these are relative to, itself relative to the table.
        share: of the rows tried, those whose image is there.
    """

    name: str
    rows: Sequence[_Row]
    column: str
    images: str
    share: float


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for the tables of a folder; see `thaw.data.sources.table.recognise`."""
    there, names = set(folder.below()), tables(folder)
    read = {name: _read(folder, name) for name in names}
    found = [one for name in names if read[name] and (one := _images(folder, name, read[name], there))]
    if not found or max(one.share for one in found) == 0:
        _refuse([one for one in found if is_picture(str(one.rows[0].get(one.column)))])
        return None
    best = max(found, key=lambda one: (round(one.share, 1), len(one.rows)))
    chosen = [one for one in found if (one.column, one.images) == (best.column, best.images) and one.share]
    left_out = sorted(set(names) - {one.name for one in chosen})
    if left_out and len(chosen) > 1:
        left_out += [one.name for one in chosen if one is not best]
        chosen = [best]
    return _described(folder, chosen, left_out, there)


def _read(folder: Folder, name: str) -> list[_Row]:
    try:
        return [row for _, row in rows(folder, name)]
    except DataError:
        return []


def _images(folder: Folder, name: str, read: Sequence[_Row], there: set[str]) -> _Table | None:
    """Return which column names images, and where they are."""
    parent = PurePosixPath(name).parent
    tried = [read[at * len(read) // _TRIED] for at in range(_TRIED)] if len(read) > _TRIED else read
    found: list[tuple[float, int, bool, bool, int, str, str]] = []
    for column in read[0]:
        cells = [cell for row in tried if isinstance(cell := row.get(column), str) and cell]
        for images in [".", *folder.folders(parent.as_posix())] if cells else ():
            share = sum((parent / images / cell).as_posix() in there for cell in cells) / len(tried)
            usual = -_USUAL.index(column.lower()) if column.lower() in _USUAL else -len(_USUAL)
            found.append((share, usual, is_picture(cells[0]), images == ".", -len(found), column, images))
    if not found:
        return None
    share, *_, column, images = max(found)
    return _Table(name, read, column, images, share)


def _refuse(named: Sequence[_Table]) -> None:
    if named:
        one = named[0]
        raise DataError(
            f"{one.name}: column {one.column!r} names images that are not in the folder, such as "
            f"{one.rows[0][one.column]}: put the table where its paths begin"
        )


def _described(folder: Folder, chosen: Sequence[_Table], left_out: Sequence[str], there: set[str]) -> Recognised:
    one, read = chosen[0], [row for table in chosen for row in table.rows]
    given = {"file_column": (one.column, "file_name"), "images": (one.images, ".")}
    said = [
        *_splits(chosen, read),
        *_groups(chosen, read),
        *_sets(read, one.column),
        *_masks(folder, chosen, there),
        *_shortcomings(one, left_out),
    ]
    options = {key: value for key, (value, usual) in given.items() if value != usual}
    for change in said:
        options |= change.options
    return Recognised(
        confidence=0.95 if one.share >= _ENOUGH else 0.5,
        seen=f"{', '.join(table.name for table in chosen)}, {len(read)} rows with an image each",
        options=options,
        path=one.name if left_out else "",
        assumed=tuple(change.assumed for change in said if change.assumed),
        unsure=tuple(change.unsure for change in said if change.unsure),
    )


@dataclass(frozen=True)
class _Said:
    """One thing that was found out, with the options that follow from it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    assumed: str = ""
    unsure: str = ""


def _shortcomings(one: _Table, left_out: Sequence[str]) -> Iterator[_Said]:
    if one.share < _ENOUGH:
        yield _Said(unsure=f"of the images that {one.name} names, {1 - one.share:.0%} are not there")
    if left_out:
        yield _Said(
            unsure=f"whether {', '.join(left_out)} matter: they name no images like {one.name}, and are not read"
        )


def _splits(chosen: Sequence[_Table], read: Sequence[_Row]) -> Iterator[_Said]:
    """Yield which column says the split, where none is called so."""
    if "split" in read[0] or any(split_said(table.name) for table in chosen):
        return
    for column in read[0]:
        words = {str(row.get(column) or "") for row in read} - {""}
        if len(words) > 1 and all(given_split(word) for word in words):
            yield _Said({"split_column": column}, f"column {column} says the split: {', '.join(sorted(words))}")
            return


def _groups(chosen: Sequence[_Table], read: Sequence[_Row]) -> Iterator[_Said]:
    """Yield which column says what belongs together."""
    for column in [one for one in read[0] if _GROUP.fullmatch(one)]:
        sides: dict[str, set[str | None]] = defaultdict(set)
        for table in chosen:
            for row in table.rows:
                if row.get(column) not in (None, ""):
                    said = row.get("split")
                    sides[str(row[column])].add(given_split(str(said)) if said else split_said(table.name))
        torn = [name for name, found in sides.items() if len(found) > 1]
        if torn:
            yield _Said(
                unsure=f"column {column} looks like a group, and {torn[0]!r} is in several splits: if its images are "
                f"alike, set data.source.group_column={column} and data.split.given=false"
            )
        elif 3 <= len(sides) < len(read):
            kept = f"images of one {column} stay on one side of the split ({len(sides)} of them)"
            yield _Said({"group_column": column}, kept)
            return


def _sets(read: Sequence[_Row], file_column: str) -> Iterator[_Said]:
    """Yield what stands between the classes of a set in one cell, where that is not the usual."""
    for column in [one for one in read[0] if one != file_column]:
        cells = Counter(cell for row in read if isinstance(cell := row.get(column), str) and cell)
        separator = next((one for one in _SEPARATORS if _joins(one, cells)), ";")
        if separator != ";":
            yield _Said({"separator": separator}, f"{separator!r} stands between the classes in column {column}")
            return


def _joins(separator: str, cells: Mapping[str, int]) -> bool:
    """Return whether cells are sets of names: some hold several, and names come back in other cells, alone or not."""
    if not any(separator in cell for cell in cells):
        return False
    inside = Counter(name.strip() for cell in cells for name in cell.split(separator))
    often = sum(count * len(cell.split(separator)) for cell, count in cells.items())
    return 1 < len(inside) <= len(cells) and inside.total() > 1.3 * len(inside) and often >= 3 * len(inside)


def _masks(folder: Folder, chosen: Sequence[_Table], there: set[str]) -> Iterator[_Said]:
    """Yield what the values of masks mean, and which columns seem to name masks and are not read as such."""
    one = chosen[0]
    pairs = [(PurePosixPath(table.name).parent, row) for table in chosen for row in table.rows]
    classes = _classes([row for _, row in pairs], one.column)
    for column in [name for name in one.rows[0] if name != one.column]:
        named = {
            (parent / cell).as_posix(): {name: str(row[name]) for name in classes if row.get(name)}
            for parent, row in pairs
            if isinstance(cell := row.get(column), str) and cell
        }
        if not named or sum(path in there for path in named) < len(named) / 2:
            continue
        if not column.endswith(MASK_ENDING):
            yield _Said(
                unsure=f"whether column {column} names masks: called {column}{MASK_ENDING}, it would be read so"
            )
            continue
        values = _mask_values.guess(folder, list(named), list(named.values()))
        yield _Said({"mask_values": dict(values.names)})
        yield from (_Said(assumed=line) for line in values.assumed)
        yield from (_Said(unsure=line) for line in values.unsure)


def _classes(read: Sequence[_Row], file_column: str) -> list[str]:
    """Return the columns of few words, which may name what masks show."""
    words = {
        column: {row[column] for row in read if isinstance(row.get(column), str)}
        for column in read[0]
        if column not in (file_column, "split")
    }
    return [column for column, found in words.items() if 2 <= len(found) <= _FEW]
