"""Page: the report of a sweep as one HTML file that asks for nothing else, whatever its names and errors hold."""

import html
from collections import Counter
from collections.abc import Iterator, Sequence

from thaw.page import cells
from thaw.page.cells import Cell
from thaw.page.document import document, figures
from thaw.page.wording import count, cut, duration
from thaw.tuning.report import table, wording
from thaw.tuning.report.charts import bars, curves, heat, parallel, progress
from thaw.tuning.report.importance import LEAST, importance
from thaw.tuning.report.overrides import quoted
from thaw.tuning.report.rungs import Rung, rungs
from thaw.tuning.report.summary import Summary
from thaw.tuning.trial import Trial, best_of

_STAGES = {"finished": "finished", "stopped": "stopped early", "failed": "failed", "running": "still running"}


def page(summary: Summary, trials: Sequence[Trial]) -> str:
    """Return the report as HTML; of a sweep that still runs, as far as it has come."""
    shown = [summary.filled(trial) for trial in trials]
    return document(f"{summary.experiment}: sweep {summary.sweep}", _sections(summary, shown))


def sentence(summary: Summary, trials: Sequence[Trial]) -> str:
    """Return the sweep in one sentence: how many trials, how long, and what came of them."""
    best, first = best_of(list(trials)), next((trial for trial in trials if trial.number == 0), None)
    began = f"{count(len(trials), 'trial')} in {duration(summary.seconds)}"
    if best is None or best.best is None:
        return f"{began}, none of which has come to a score yet."
    found = wording.score(best.best.score)
    if best.number == 0:
        return f"{began}: none was better than the experiment as it was written, {summary.metric} {found}."
    said = f"{began}: the best, trial {best.number}, came to {summary.metric} {found}"
    if first is None or first.best is None:
        return f"{said}; the experiment as it was written has no score."
    gain = wording.score(best.best.score - first.best.score)
    return f"{said}, {gain} above the experiment as it was written ({wording.score(first.best.score)})."


def _sections(summary: Summary, trials: Sequence[Trial]) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(sentence(summary, trials))}</p>'
    counts = Counter(str(trial.stage) for trial in trials)
    stages = ", ".join(f"{counts[stage]} {said}" for stage, said in _STAGES.items() if counts[stage])
    chosen = f"Values chosen by {summary.search}, trials stopped by {summary.scheduler}."
    yield f'<p class="soft">{html.escape(f"{stages}. {chosen}" if stages else chosen)}</p>'
    yield from _best(summary, trials)
    yield from _charts(summary, trials)
    yield from _rungs(rungs(trials, summary.rungs))
    yield from _trials(summary, trials)
    yield from _failures(trials)
    yield from _paths(summary)


def _best(summary: Summary, trials: Sequence[Trial]) -> Iterator[str]:
    best = best_of(list(trials))
    if best is None:
        return
    yield "<h2>Best configuration</h2>"
    if best.number == 0:
        yield "<p>The experiment as it was written: there is nothing to change.</p>"
    else:
        yield "<p>Put after <code>thaw train</code> and the experiment's file:</p>"
        yield f"<pre>{html.escape(quoted(best.values))}</pre>"
    if summary.tested:
        rows = [
            [Cell(task), Cell(metric), cells.number(value, wording.score(value))]
            for task, metrics in summary.tested.items()
            for metric, value in metrics.items()
        ]
        yield f"<h2>On the {html.escape(summary.tested_on)} images</h2>"
        if summary.anew:
            yield f"<p>{html.escape(f'The model was {summary.anew}.')}</p>"
        yield cells.table(["task", "metric", "value"], rows)


def _charts(summary: Summary, trials: Sequence[Trial]) -> Iterator[str]:
    shares = importance(trials, summary.ranges)
    pair = heat.pair(summary.ranges, shares)
    left = [
        progress.draw(trials, summary.metric),
        heat.draw(trials, summary.ranges, *pair) if pair else None,
        bars.draw(shares) if shares else None,
    ]
    right = [curves.draw(trials, summary.metric), parallel.draw(trials, summary.ranges, summary.metric)]
    if any(left + right):
        yield "<h2>What was seen</h2>"
        yield f'<div class="charts"><div>{figures(left)}</div><div>{figures(right)}</div></div>'
    if shares is None and summary.ranges:
        yield (
            '<p class="soft">Importance of each dimension: too few trials to tell; it takes '
            f"{LEAST} with values and different scores.</p>"
        )


def _rungs(found: Sequence[Rung]) -> Iterator[str]:
    if not found:
        return
    heading = [
        "images seen",
        "reached",
        "stopped here",
        "went on",
        "highest score stopped",
        "lowest score that went on",
    ]
    rows = [
        [
            cells.number(rung.images, f"{rung.images:,}"),
            *(cells.number(count, str(count)) for count in (rung.reached, rung.stopped, rung.went_on)),
            *(
                cells.number(score, "" if score is None else wording.score(score))
                for score in (rung.highest_stopped, rung.lowest_kept)
            ),
        ]
        for rung in found
    ]
    yield "<h2>What the scheduler stopped</h2>"
    yield (
        "<p class=soft>Trials that had seen as many images were compared; one that came early was compared with few "
        "others, so that it may have gone on with less than others were stopped with.</p>"
    )
    yield cells.table(heading, rows)


def _trials(summary: Summary, trials: Sequence[Trial]) -> Iterator[str]:
    if not trials:
        return
    best, names = best_of(list(trials)), wording.short(summary.ranges)
    ranked = table.ranked(trials)
    heading = ["trial", "score", "stage", "best epoch", "epochs", "images", "time", *names.values()]
    yield "<h2>All trials</h2>"
    marked = next((row for row, trial in enumerate(ranked) if best and trial.number == best.number), None)
    yield cells.table(heading, [_row(trial, summary) for trial in ranked], marked, sorts=True)


def _row(trial: Trial, summary: Summary) -> list[Cell]:
    best, last = trial.best, trial.reports[-1] if trial.reports else None
    return [
        Cell(f"{trial.number} (as written)" if trial.number == 0 else str(trial.number), trial.number),
        cells.number(best.score, wording.score(best.score)) if best else cells.NONE,
        Cell(_STAGES[trial.stage]),
        cells.number(best.epoch, str(best.epoch)) if best else cells.NONE,
        cells.number(last.epoch if last else 0, str(last.epoch if last else 0)),
        cells.number(last.images if last else 0, f"{last.images if last else 0:,}"),
        cells.number(trial.seconds, duration(trial.seconds)),
        *(_drawn(trial, place) for place in summary.ranges),
    ]


def _drawn(trial: Trial, place: str) -> Cell:
    if place not in trial.values:
        return cells.NONE
    value = trial.values[place]
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(cut(wording.value(value), 40), float(value) if plain else None)


def _failures(trials: Sequence[Trial]) -> Iterator[str]:
    failed = [trial for trial in trials if trial.stage == "failed" or trial.error]
    if not failed:
        return
    yield "<h2>Failures</h2>"
    for trial in failed:
        told = (trial.error or "no reason was kept").strip()
        after = f"after {count(trial.reports[-1].epoch, 'epoch')}" if trial.reports else "before its first epoch"
        line = html.escape(f"Trial {trial.number}, {after}: {told.splitlines()[-1]}")
        whole = f"<details><summary>{line}</summary><pre>{html.escape(told)}</pre></details>"
        yield whole if "\n" in told else f"<p>{line}</p>"


def _paths(summary: Summary) -> Iterator[str]:
    if summary.paths:
        yield "<h2>Where things are</h2>"
        rows = "".join(f"<dt>{html.escape(what)}</dt><dd>{html.escape(at)}</dd>" for what, at in summary.paths.items())
        yield f"<dl>{rows}</dl>"
