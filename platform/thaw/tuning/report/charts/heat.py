"""Heat: the mean best score over two dimensions, with how many trials it is the mean of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import count, cut
from thaw.tuning.report import wording
from thaw.tuning.report.range import Range, Ranges
from thaw.tuning.trial import Trial

_BINS = 5
_EACH = 8
"""Whole numbers up to which each has a bin of its own."""
_LETTERS = 44
"""Letters of labels that fit below a drawing."""

Cells = dict[tuple[int, int], list[float]]
"""Column and row -> the best scores of the trials there."""


@dataclass(frozen=True)
class Bins:
    """A dimension cut in pieces; the last is for trials that do not have it, where there are any."""

    labels: tuple[str, ...]
    range_: Range

    @property
    def unset(self) -> bool:
        """Whether there is a piece for trials without the dimension."""
        return self.labels[-1] == wording.NOT_SET

    def index(self, trial: Trial, place: str) -> int:
        """Return the piece in which a trial lies."""
        share = self.range_.share(trial.values[place]) if place in trial.values else None
        number = len(self.labels) - self.unset
        return number if share is None else min(int(share * number), number - 1)


def pair(ranges: Ranges, shares: Mapping[str, float] | None) -> tuple[str, str] | None:
    """Return the two dimensions to draw, across and up: backbone rate and depth, else the two most important ones."""
    rate = next((place for place in ranges if place.endswith("rates.backbone")), None)
    depth = next((place for place in ranges if place.endswith(".depth")), None)
    if rate and depth:
        return rate, depth
    order = sorted(list(shares or ranges)[:2], key=lambda place: ranges[place].kind == "choice")
    return (order[0], order[1]) if len(order) > 1 else None  # names have more room on the left


def draw(trials: Sequence[Trial], ranges: Ranges, across: str, up: str) -> Chart | None:
    """Return a cell for each pair of pieces that has a trial; None where no trial has a value of both and a score."""
    shown = [trial for trial in trials if trial.best and trial.values]
    if not any(place in trial.values for place in (across, up) for trial in shown):
        return None
    columns, rows = bins(shown, ranges[across], across), bins(shown, ranges[up], up)
    cells: Cells = {}
    for trial in shown:
        if trial.best:
            cells.setdefault((columns.index(trial, across), rows.index(trial, up)), []).append(trial.best.score)
    names = wording.short(ranges)
    title = f"{names[up]} and {names[across]}"
    svg = paper.drawn(
        "heat",
        f"Mean best score by {title}",
        1.2 + 0.42 * len(rows.labels),
        lambda figure: _draw(figure, cells, columns, rows, (names[across], names[up])),
    )
    (column, row), scores = max(cells.items(), key=lambda one: sum(one[1]) / len(one[1]))
    caption = (
        f"Best with {names[up]} {rows.labels[row]} and {names[across]} {columns.labels[column]}: "
        f"{wording.score(sum(scores) / len(scores))}, the mean of {count(len(scores), 'trial')}; "
        "the number in brackets is how many trials a cell stands for."
    )
    return Chart(title, caption, svg)


def bins(shown: Sequence[Trial], range_: Range, place: str) -> Bins:
    """Return a dimension in pieces, with one for trials that do not have it, where there are any."""
    unset = any(place not in trial.values or range_.share(trial.values[place]) is None for trial in shown)
    return Bins((*_labels(range_), *([wording.NOT_SET] if unset else [])), range_)


def _labels(range_: Range) -> list[str]:
    if range_.kind == "choice":
        return [cut(wording.value(choice), 18) for choice in range_.choices]
    if range_.low == range_.high:
        return [_edge(range_.low)]
    if range_.kind == "int":
        return _whole(range_)
    edges = [_edge(range_.at(index / _BINS)) for index in range(_BINS + 1)]
    return [f"{low} to {high}" for low, high in pairwise(edges)]


def _whole(range_: Range) -> list[str]:
    """Return the whole numbers of each piece."""
    numbers = range(int(range_.low), int(range_.high) + 1)
    if len(numbers) <= _EACH:
        return [str(number) for number in numbers]
    pieces: list[list[int]] = [[] for _ in range(_BINS)]
    for number in numbers:
        pieces[min(int((range_.share(number) or 0.0) * _BINS), _BINS - 1)].append(number)
    return [f"{piece[0]} to {piece[-1]}" if len(piece) > 1 else str(piece[0]) for piece in pieces]


def _edge(value: float) -> str:
    return wording.value(float(f"{value:.2g}"))


def _draw(figure: Figure, cells: Cells, columns: Bins, rows: Bins, names: tuple[str, str]) -> None:
    axes = figure.subplots()
    means = {spot: sum(scores) / len(scores) for spot, scores in cells.items()}
    colour = paper.shade(list(means.values()))
    for column in range(len(columns.labels)):
        for row in range(len(rows.labels)):
            axes.add_patch(_square(column, row, facecolor=paper.INK, alpha=0.04))
    for (column, row), mean in means.items():
        _cell(axes, column, row, mean, len(cells[column, row]), colour(mean))
    axes.set_xlim(-0.5, len(columns.labels) - 0.5)
    axes.set_ylim(-0.5, len(rows.labels) - 0.5)
    most = max(3, _LETTERS // len(columns.labels))
    below = [cut(label, most) if " to " not in label else label.replace(" to ", "\nto ") for label in columns.labels]
    axes.set_xticks(range(len(columns.labels)), below)
    axes.set_yticks(range(len(rows.labels)), rows.labels)
    axes.tick_params(length=0, labelsize=8.5)
    paper.labelled(axes, *names)
    axes.spines[:].set_visible(False)


def _cell(axes: Axes, column: int, row: int, mean: float, count: int, colour: tuple[float, ...]) -> None:
    axes.add_patch(_square(column, row, facecolor=colour))
    red, green, blue = colour[:3]
    ink = "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "#000000"
    axes.text(
        column, row + 0.1, f"{mean:.3f}" if abs(mean) < 10 else f"{mean:.3g}", ha="center", va="center", color=ink
    )
    axes.text(column, row - 0.27, f"({count})", ha="center", va="center", color=ink, fontsize=8)


def _square(column: int, row: int, **look: Any) -> Rectangle:
    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, edgecolor="none", **look)
