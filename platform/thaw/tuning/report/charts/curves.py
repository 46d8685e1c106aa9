"""Curves: each trial's score over the images that it had seen."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import count
from thaw.tuning.trial import Trial, best_of

_TITLE = "Learning curves"


def draw(trials: Sequence[Trial], metric: str) -> Chart | None:
    """Return a line a trial, those that were stopped faded; None where no trial has a score."""
    best = best_of(list(trials))
    if best is None:
        return None
    svg = paper.drawn("curves", f"{_TITLE} of all trials", 3.7, lambda figure: _draw(figure, trials, best, metric))
    return Chart(_TITLE, _caption(trials), svg)


def _caption(trials: Sequence[Trial]) -> str:
    stopped = [trial.reports[-1].images for trial in trials if trial.stage == "stopped" and trial.reports]
    longest = max(trial.reports[-1].images for trial in trials if trial.reports)
    if not stopped:
        return f"No trial was stopped early; the longest saw {count(longest, 'image')}."
    share = sum(stopped) / (longest * len(stopped))
    return (
        f"{count(len(stopped), 'trial')} stopped early (faded) saw {share:.0%} of the images that "
        f"{'it' if len(stopped) == 1 else 'they'} would have seen in full."
    )


def _draw(figure: Figure, trials: Sequence[Trial], best: Trial, metric: str) -> None:
    axes = figure.subplots()
    last = {0: 2, best.number: 3}  # drawn over the others
    for trial in sorted(trials, key=lambda one: (last.get(one.number, one.stage != "stopped"), one.number)):
        if trial.reports:
            _line(axes, trial, best, paper.density(len(trials)))
    paper.labelled(axes, "training images seen", metric)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda images, _: f"{images:,.0f}"))
    paper.grid(axes)
    paper.legend(figure, axes)


def _line(axes: Axes, trial: Trial, best: Trial, density: float) -> None:
    images, scores = zip(*((report.images, report.score) for report in trial.reports), strict=True)
    marker = "." if len(images) == 1 else ""
    if trial.number == best.number:
        label = f"best (trial {trial.number})" + (", as written" if trial.number == 0 else "")
        axes.plot(images, scores, color=paper.BEST, linewidth=2.4, marker=marker, label=label)
    elif trial.number == 0:
        axes.plot(images, scores, color=paper.INK, linewidth=1.8, linestyle="--", marker=marker, label="as written")
    elif trial.stage == "stopped":
        axes.plot(images, scores, color=paper.FADED, linewidth=1, alpha=0.55, marker=marker, label="stopped early")
    else:
        axes.plot(images, scores, color=paper.PLAIN, linewidth=1.2, alpha=density, marker=marker, label="others")
    if trial.stage == "failed":
        axes.plot(images[-1], scores[-1], "x", color=paper.INK, linestyle="", label="failed here")
