"""Table: one row a trial, for programs (CSV, Parquet) and for the console."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thaw.page.wording import cut, duration
from thaw.tuning.report import wording
from thaw.tuning.trial import Trial

_OWN: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "stage": pa.string(),
    "score": pa.float64(),
    "epoch": pa.int64(),
    "epochs": pa.int64(),
    "images": pa.int64(),
    "seconds": pa.float64(),
    "error": pa.string(),
}
"""Columns that every table has; ``score`` and ``epoch`` are the best report's."""


def as_csv(trials: Sequence[Trial], places: Sequence[str]) -> str:
    """Return one line a trial; a dimension that a trial does not have is empty, and null is a value that was drawn."""
    rows = [_row(trial, places) for trial in trials]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_OWN, *places, *_metrics(trials)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(cell) if name in places else cell for name, cell in row.items()} for row in rows)
    return text.getvalue()


def as_parquet(trials: Sequence[Trial], places: Sequence[str]) -> bytes:
    """Return one row a trial; a dimension keeps its type where all its values share one, and is text otherwise."""
    rows = [_row(trial, places) for trial in trials]
    arrays = {name: pa.array([row[name] for row in rows], kind) for name, kind in _OWN.items()}
    arrays |= {place: pa.array(column(trials, place)) for place in places}
    arrays |= {name: pa.array([row.get(name) for row in rows], pa.float64()) for name in _metrics(trials)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    return bytes(sink.getvalue().to_pybytes())


def column(trials: Sequence[Trial], place: str) -> list[Any]:
    """Return each trial's value of a dimension, all of one type, text where they are of several; None where not set."""
    drawn = [trial.values[place] for trial in trials if place in trial.values]
    kinds = {type(value) for value in drawn}
    if kinds == {int, float}:
        return [None if (value := trial.values.get(place)) is None else float(value) for trial in trials]
    if kinds <= {bool} or kinds <= {int} or kinds <= {float}:
        return [trial.values.get(place) for trial in trials]
    return [_text(trial.values[place]) if place in trial.values else None for trial in trials]


def lines(trials: Sequence[Trial], places: Sequence[str], most: int = 10) -> list[str]:
    """Return the best trials, best first, as lines of aligned columns under a heading; the highest score is best."""
    names = wording.short(places)
    heading = ["trial", "score", "stage", "epochs", "time", *(names[place] for place in places)]
    cells = [heading, *(_cells(trial, places) for trial in ranked(trials)[:most])]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heading))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials by their best score, the highest first; those without any last, by number."""
    return sorted(
        trials, key=lambda trial: (trial.best is None, -(trial.best.score if trial.best else 0), trial.number)
    )


def _row(trial: Trial, places: Sequence[str]) -> dict[str, Any]:
    best, last = trial.best, trial.reports[-1] if trial.reports else None
    return {
        "number": trial.number,
        "stage": trial.stage,
        "score": best.score if best else None,
        "epoch": best.epoch if best else None,
        "epochs": last.epoch if last else 0,
        "images": last.images if last else 0,
        "seconds": trial.seconds,
        "error": trial.error,
        **{place: trial.values[place] for place in places if place in trial.values},
        **_named(trial),
    }


def _named(trial: Trial) -> dict[str, float]:
    """Return the metrics of the best report as task/metric."""
    found = trial.best.metrics if trial.best else {}
    return {f"{task}/{metric}": value for task, metrics in found.items() for metric, value in metrics.items()}


def _metrics(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in _named(trial)))


def _text(value: Any) -> str:
    """Return a drawn value as text that says all of it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cells(trial: Trial, places: Sequence[str]) -> list[str]:
    best = trial.best
    return [
        str(trial.number),
        wording.score(best.score) if best else "-",
        trial.stage,
        str(trial.reports[-1].epoch if trial.reports else 0),
        duration(trial.seconds),
        *(cut(wording.value(trial.values[place]), 24) if place in trial.values else "-" for place in places),
    ]
