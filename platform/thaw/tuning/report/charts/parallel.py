"""Parallel: all dimensions beside each other, and every trial as a line through its values.

The axes lie one below the other, so that any number of dimensions fits the width of a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import cut
from thaw.tuning.report import wording
from thaw.tuning.report.range import Range, Ranges
from thaw.tuning.trial import Trial, best_of

_TITLE = "Every trial through all dimensions"
_LETTERS = 50
"""Letters of a tick that fit the width."""
_LOOSE: dict[str, Any] = {"zorder": 4, "in_layout": False}
"""Of text: over the lines, and however long it is, the axes keep their width."""
_ASIDE = -0.17
"""Where values that are not set lie, left of the axis."""


@dataclass(frozen=True)
class _Scores:
    low: float
    high: float

    def share(self, score: float) -> float:
        return (score - self.low) / (self.high - self.low) if self.high > self.low else 1.0


def draw(trials: Sequence[Trial], ranges: Ranges, metric: str) -> Chart | None:
    """Return a line a trial that has values and a score, the darker the better; None where there is none."""
    shown = [trial for trial in trials if trial.best and trial.values]
    best = best_of(shown)
    if best is None or not ranges:
        return None
    svg = paper.drawn(
        "parallel", _TITLE, 0.2 + 0.72 * (len(ranges) + 1), lambda figure: _draw(figure, shown, ranges, metric)
    )
    unset = any(_share(trial, place, one) is None for trial in shown for place, one in ranges.items())
    aside = f"; where a trial does not have a dimension, it passes through “{wording.NOT_SET}” on the left"
    return Chart(
        _TITLE,
        f"The darker a line, the better the trial; the best of them, trial {best.number}, is orange"
        f"{', the experiment as written dashed' if any(trial.number == 0 for trial in shown) else ''}"
        f"{aside if unset else ''}.",
        svg,
    )


def _draw(figure: Figure, shown: list[Trial], ranges: Ranges, metric: str) -> None:
    axes = figure.subplots()
    names = wording.short(ranges)
    scores = [trial.best.score for trial in shown if trial.best]
    span = _Scores(min(scores), max(scores))
    unset = {place for place, one in ranges.items() if any(_share(trial, place, one) is None for trial in shown)}
    _lines(axes, shown, ranges, span)
    for row, (place, range_) in enumerate(ranges.items()):
        _axis(axes, row, names[place], _ticks(range_))
        if place in unset:
            _tick(axes, _ASIDE, row, wording.NOT_SET)
    _axis(axes, len(ranges), metric, [(0.0, wording.score(span.low)), (1.0, wording.score(span.high))])
    axes.set_xlim(_ASIDE - 0.09 if unset else -0.09, 1.09)
    axes.set_ylim(len(ranges) + 0.45, -0.5)
    axes.set_axis_off()


def _lines(axes: Axes, shown: list[Trial], ranges: Ranges, span: _Scores) -> None:
    """Draw the trials, better ones over worse ones."""
    best = best_of(shown)
    scored = sorted(((found.score, trial) for trial in shown if (found := trial.best)), key=lambda one: one[0])
    colour = paper.shade([score for score, _ in scored])
    for score, trial in scored:
        across = [*(_across(trial, place, range_) for place, range_ in ranges.items()), span.share(score)]
        style = "--" if trial.number == 0 else "-"
        if best is not None and trial.number == best.number:
            look: dict[str, Any] = {"color": paper.BEST, "linewidth": 2.4, "markersize": 4}
        else:
            faint = 0.5 if trial.stage == "stopped" else 1.0
            alpha = 1.0 if trial.number == 0 else faint * paper.density(len(shown))
            look = {"color": colour(score), "linewidth": 1.3, "markersize": 3, "alpha": alpha}
        axes.plot(across, range(len(across)), style, marker="o", **look)


def _across(trial: Trial, place: str, range_: Range) -> float:
    share = _share(trial, place, range_)
    if share is None:
        return _ASIDE
    aside = ((trial.number * 5) % 9 - 4) * 0.004  # so that the same choice of several trials can be told apart
    return share + aside * (range_.kind in ("choice", "int"))


def _share(trial: Trial, place: str, range_: Range) -> float | None:
    return range_.share(trial.values[place]) if place in trial.values else None


def _ticks(range_: Range) -> list[tuple[float, str]]:
    """Return where an axis has ticks, and what they say."""
    if range_.kind == "choice":
        most = max(3, _LETTERS // max(1, len(range_.choices)) - 2)
        shares = [(index + 0.5) / len(range_.choices) for index in range(len(range_.choices))]
        return [(share, cut(wording.value(one), most)) for share, one in zip(shares, range_.choices, strict=True)]
    if range_.kind == "int":
        low, high = int(range_.low), int(range_.high)
        step = max(1, -(-(high - low) // 6))
        return [(range_.share(one) or 0.0, str(one)) for one in range(low, high + 1, step)]
    return [(share, wording.value(float(f"{range_.at(share):.2g}"))) for share in (0.0, 0.5, 1.0)]


def _axis(axes: Axes, row: int, name: str, ticks: list[tuple[float, str]]) -> None:
    axes.plot([0, 1], [row, row], color=paper.INK, linewidth=0.8, alpha=0.5, zorder=1)
    axes.text(0, row - 0.17, cut(name, 44), weight="bold", va="bottom", bbox=_behind(), **_LOOSE)
    for share, text in ticks:
        _tick(axes, share, row, text)


def _tick(axes: Axes, share: float, row: int, text: str) -> None:
    axes.plot(share, row, "|", color=paper.INK, markersize=6, alpha=0.5, zorder=1)
    axes.text(share, row + 0.15, text, fontsize=9, ha="center", va="top", bbox=_behind(), **_LOOSE)


def _behind() -> dict[str, object]:
    return {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
