"""Charts: the figures of a finding, drawn where they are numbers by name, and listed where they are single values.

A check need not know how: see `thaw.inspection.finding.Finding.figures`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.inspection.finding import Finding
from thaw.page import cells, paper
from thaw.page.cells import Cell
from thaw.page.paper import Chart
from thaw.page.wording import cut

MOST = 16
"""Names that one drawing shows; of more, half are those of the highest values and half those of the lowest."""
_COLOURS = (paper.PLAIN, paper.BEST, paper.FADED, "#4f9d69", "#8e6bbf", "#c79a1b")
_LETTERS = 24
_SHARE = re.compile(r"0|1|0?\.\d+|1\.0+|0\.0+")
_SHARES = {0.0: "least", 0.5: "median", 1.0: "most"}
_BAR, _GAP, _REST = 0.11, 0.13, 0.75  # inches of one bar, between groups, and of axis and legend

Series = Mapping[str, Mapping[str, float]]
"""What bars of one colour say -> name -> value."""


def bars(finding: Finding, name: str) -> Chart | None:
    """Return a bar for every number by name among the figures; None where there are none.

    Args:
        name: a word that no other drawing of the page has.
    """
    series = {_words(key): one for key, one in finding.figures.items() if _are_bars(one)}
    names = list(dict.fromkeys(name for one in series.values() for name in one))
    if not names:
        return None
    shown = _shown(names, series)
    title = f"{_words(finding.name)}{f' of {finding.task}' if finding.task else ''}"
    some = f"the {MOST // 2} highest and the {MOST // 2} lowest of {len(names):,}" if len(shown) < len(names) else ""
    caption = ", ".join(filter(None, ["" if len(series) > 1 else next(iter(series)), some]))
    height = _REST + len(shown) * (_GAP + _BAR * len(series))
    svg = paper.drawn(name, f"{title} {caption}".strip(), height, lambda figure: _draw(figure, series, shown))
    return Chart(title, caption, svg)


def tables(finding: Finding) -> Iterator[str]:
    """Yield tables of what is not drawn: quantiles, one a row, and numbers that have two names each."""
    quantiles = {key: one for key, one in finding.figures.items() if _are_shares(one)}
    if quantiles:
        yield _table("", quantiles)
    for key, one in finding.figures.items():
        if _are_rows(one):
            yield _table(_words(key), one)


def listed(finding: Finding) -> dict[str, str]:
    """Return the single values among the figures, as name and text."""
    return {
        _words(key): _text(one)
        for key, one in finding.figures.items()
        if not (_are_bars(one) or _are_shares(one) or _are_rows(one))
    }


def _table(name: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    are_shares = all(_are_shares(row) for row in rows.values())
    heading = [_SHARES.get(float(one), f"{100 * float(one):.3g}%") if are_shares else _words(one) for one in columns]
    filled = [[Cell(_words(key)), *(_cell(row.get(column)) for column in columns)] for key, row in rows.items()]
    return cells.table([name, *heading], filled)


def _cell(value: float | None) -> Cell:
    return cells.number(value, "" if value is None else _text(value))


def _are_bars(value: Any) -> bool:
    """Return whether these are numbers worth comparing."""
    return _are_numbers(value) and len(value) > 1 and not _are_shares(value)


def _are_rows(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(_are_numbers(one) for one in value.values())


def _are_shares(value: Any) -> bool:
    """Return whether these are numbers named by shares from 0 to 1, as quantiles are."""
    if not _are_numbers(value):
        return False
    names = [str(name) for name in value]
    return all(map(_SHARE.fullmatch, names)) and any("." in name for name in names)  # classes may be called 0 and 1


def _are_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(_is_number(one) for one in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(names: Sequence[str], series: Series) -> list[str]:
    """Return names in their order, or the outermost ones by value where they are too many."""
    if len(names) <= MOST:
        return list(names)
    ranked = sorted(names, key=lambda name: -sum(one.get(name, 0) for one in series.values()))
    return ranked[: MOST // 2] + ranked[-MOST // 2 :]


def _draw(figure: Figure, series: Series, names: Sequence[str]) -> None:
    axes = figure.subplots()
    thick = 1 / (len(series) + _GAP / _BAR)
    for place, (key, values) in enumerate(series.items()):
        rows = [row + (place - (len(series) - 1) / 2) * thick for row in range(len(names))]
        lengths = [values.get(name, 0) for name in names]
        axes.barh(rows, lengths, thick * 0.9, color=_COLOURS[place % len(_COLOURS)], label=key)
        if len(series) == 1:
            _write(axes, rows, lengths)
    axes.set_yticks(range(len(names)), [cut(name, _LETTERS) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.margins(x=0.16 if len(series) == 1 else 0.03)
    paper.grid(axes)
    axes.grid(visible=False, axis="y")
    if len(series) > 1:
        paper.legend(figure, axes, columns=3)


def _write(axes: Axes, rows: Sequence[float], lengths: Sequence[float]) -> None:
    for row, length in zip(rows, lengths, strict=True):
        axes.annotate(
            _text(length), (length, row), (4 if length >= 0 else -4, 0), textcoords="offset points", va="center",
            ha="left" if length >= 0 else "right", fontsize=8.5,
        )  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    """Return a value for a person."""
    match value:
        case bool() | None:
            return "-" if value is None else str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        case Mapping():
            return "; ".join(f"{key} {_text(one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(_text(one) for one in value)
    return str(value)
