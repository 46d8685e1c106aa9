"""Cells: tables in HTML. Everything that is put in is escaped here."""

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    text: str
    value: float | None = None
    """What it is sorted by, where that is a number."""
    none: bool = False
    """Whether there is nothing to compare; such cells sort last."""


NONE = Cell("-", none=True)


def number(value: float | None, text: str) -> Cell:
    """Return a cell that sorts as a number; nothing where there is none."""
    return NONE if value is None else Cell(text, float(value))


def table(
    heading: Sequence[str], rows: Sequence[Sequence[Cell]], marked: int | None = None, sorts: bool = False
) -> str:
    """Return a table in a box of its own that scrolls sideways.

    Args:
        marked: the row that stands out.
        sorts: whether a click on a heading sorts it.
    """
    left = [all(row[place].value is None and not row[place].none for row in rows) for place in range(len(heading))]
    head = "".join(
        f"<th scope=col{_side(text)}>{html.escape(name)}</th>" for name, text in zip(heading, left, strict=True)
    )
    body = "\n".join(_row(row, left, index == marked) for index, row in enumerate(rows))
    return (
        f'<div class="scroll" tabindex="0"><table{" class=sorts" if sorts else ""}>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(row: Sequence[Cell], left: Sequence[bool], marked: bool) -> str:
    cells = "".join(_cell(cell, text) for cell, text in zip(row, left, strict=True))
    return f"<tr{' class=best' if marked else ''}>{cells}</tr>"


def _cell(cell: Cell, left: bool) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    side = " class=none" if cell.none else _side(left)
    return f"<td{side}{value}>{html.escape(cell.text)}</td>"


def _side(left: bool) -> str:
    return " class=text" if left else ""
