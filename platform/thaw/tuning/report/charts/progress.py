"""Progress: the best score so far against the time that the sweep had run."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import count, duration
from thaw.tuning.report import wording
from thaw.tuning.trial import Report, Trial

_TITLE = "Best score so far"
_MARKS = {"finished": ("o", paper.PLAIN), "stopped": ("o", paper.FADED), "failed": ("x", paper.FADED)}


def draw(trials: Sequence[Trial], metric: str) -> Chart | None:
    """Return a step line, and a dot where each trial ended, at its best score; None where no trial has a score."""
    steps = rises(trials)
    if not steps:
        return None
    winner, report = steps[-1]
    first = f"trial {winner.number} came to {wording.score(report.score)} after {duration(report.at_s)}"
    ahead = len({trial.number for trial, _ in steps}) - 1
    rose = f"; {count(ahead, 'other trial')} had led before it" if ahead else ", and no other trial ever led"
    svg = paper.drawn("progress", f"{_TITLE}: {first}", 3.4, lambda figure: _draw(figure, trials, steps, metric))
    return Chart(_TITLE, f"{first[0].upper()}{first[1:]}{rose}.", svg)


def rises(trials: Sequence[Trial]) -> list[tuple[Trial, Report]]:
    """Return the reports that were better than all before them, as they came."""
    reports = sorted(((trial, one) for trial in trials for one in trial.reports), key=lambda pair: pair[1].at_s)
    found: list[tuple[Trial, Report]] = []
    for trial, report in reports:
        if not found or report.score > found[-1][1].score:
            found.append((trial, report))
    return found


def _draw(figure: Figure, trials: Sequence[Trial], steps: list[tuple[Trial, Report]], metric: str) -> None:
    axes = figure.subplots()
    end = max(report.at_s for trial in trials for report in trial.reports)
    unit, name = wording.clock(end)
    times, scores = [report.at_s / unit for _, report in steps], [report.score for _, report in steps]
    axes.step([*times, end / unit], [*scores, scores[-1]], where="post", color=paper.BEST, label="best so far")
    for trial in trials:
        if best := trial.best:
            marker, colour = _MARKS.get(trial.stage, ("o", paper.FADED))
            label = {"finished": "finished", "stopped": "stopped early", "failed": "failed"}.get(trial.stage, "running")
            if trial.number == 0:
                marker, colour, label = "D", paper.INK, "as written (trial 0)"
            at = trial.reports[-1].at_s / unit
            axes.plot(at, best.score, marker, color=colour, label=label, markersize=5, linestyle="")
    paper.labelled(axes, f"{name} since the sweep began", metric)
    axes.set_xlim(left=0)
    paper.grid(axes)
    paper.legend(figure, axes)
