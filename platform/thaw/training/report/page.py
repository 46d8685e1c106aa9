"""Page: a run as one HTML file that asks for nothing else: what was asked, how it went, and what came of it."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data.dataset import Report
from thaw.evaluation import operating_point
from thaw.evaluation.report import charts as measured
from thaw.evaluation.settled import Settled
from thaw.page import cells, document
from thaw.page.cells import Cell
from thaw.page.wording import count, duration
from thaw.registry.record import RunRecord
from thaw.training.plan import FinetunePlan
from thaw.training.report import charts
from thaw.training.state import Epoch

_FEW = 12
"""Classes of a task up to which their table is seen at once."""


@dataclass(frozen=True)
class Told:
    """What is told of a run beside its record.

    Attributes:
        best_metrics: task -> the metric that it is chosen by.
        best_epoch: after which the registered model was saved.
        settled: task -> what was fixed on the validation images.
        data: what the images carry.
    """

    experiment: Experiment
    history: Sequence[Epoch]
    plan: FinetunePlan
    best_metrics: Mapping[str, str]
    best_epoch: int
    settled: Mapping[str, Settled]
    data: Report


def page(record: RunRecord, told: Told) -> str:
    """Return a run as HTML."""
    return document.document(f"Run {record.id}", _sections(record, told))


def _sections(record: RunRecord, told: Told) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(_sentence(record, told))}</p>'
    yield _facts(record)
    yield from _diagnoses(record)
    yield "<h2>Curves</h2>"
    drawn = [one for task in told.best_metrics for one in _of_task(task, told)]
    yield _columns([*drawn, document.figures([charts.rates(told.plan, told.history)])])
    yield from _plan(told)
    yield from _settled(told.settled)
    yield from _data(told.data)
    yield "<h2>What was asked</h2>"
    text = html.escape(config.dump(told.experiment))
    yield f"<details><summary>The whole experiment, every default written out</summary><pre>{text}</pre></details>"


def _sentence(record: RunRecord, told: Told) -> str:
    best = next(epoch for epoch in told.history if epoch.epoch == told.best_epoch)
    values = [
        f"{task} {name} {best.metrics[task][name]:.3f}"
        for task, name in told.best_metrics.items()
        if name in best.metrics.get(task, {})
    ]
    reached = f"; the best, epoch {best.epoch}, came to {', '.join(values)} on validation images" if values else ""
    return f"{count(len(told.history), 'epoch')} in {duration(record.wall_s)}{reached}. Registered as {record.bundle}."


def _facts(record: RunRecord) -> str:
    facts = {
        "begun": record.created,
        "commit": record.git_commit or "unknown",
        "dataset": record.dataset,
        "weights": ", ".join(f"{name} {value}" for name, value in record.weights.items()),
        "ran on": ", ".join(f"{name} {value}" for name, value in record.environment.items()),
    }
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items())
    return f"<dl>{rows}</dl>"


def _diagnoses(record: RunRecord) -> Iterator[str]:
    if record.diagnosis:
        yield "<h2>Diagnosis</h2>"
    for task, one in record.diagnosis.items():
        action = f" <b>{html.escape(str(one['action']))}</b>" if one["action"] else ""
        said = f"{task}: {one['kind']} since epoch {one['since_epoch']}: {one['evidence']}."
        yield f"<p>{html.escape(said)}{action}</p>"


def _of_task(task: str, told: Told) -> list[str]:
    drawn = charts.losses(task, told.history), charts.metric(task, told.best_metrics[task], told.history)
    return [document.figures([one]) for one in drawn if one]


def _columns(drawn: Sequence[str]) -> str:
    return f'<div class="charts"><div>{"".join(drawn[::2])}</div><div>{"".join(drawn[1::2])}</div></div>'


def _plan(told: Told) -> Iterator[str]:
    yield "<h2>Plan</h2>"
    rows = []
    for number, phase in enumerate(told.experiment.finetune.phases, start=1):
        ran = [epoch for epoch in told.history if epoch.phase == number - 1]
        seconds = sum(epoch.seconds for epoch in ran)
        waiting = sum(epoch.waiting * epoch.seconds for epoch in ran) / seconds if seconds else 0.0
        rows.append(
            [
                cells.number(number, str(number)),
                cells.number(len(ran), f"{len(ran)} of {phase.epochs}"),
                Cell(str(phase.depth)),
                cells.number(phase.rates.head, f"{phase.rates.head:g}"),
                cells.number(phase.rates.backbone, f"{phase.rates.backbone:g}") if phase.depth else cells.NONE,
                cells.number(phase.rates.decay, f"{phase.rates.decay:g}") if phase.depth else cells.NONE,
                cells.number(seconds, duration(seconds)),
                cells.number(waiting, f"{waiting:.0%}"),
            ]
        )
    heading = ["phase", "epochs", "depth", "rate of heads", "of the backbone", "decay", "took", "waiting for data"]
    yield cells.table(heading, rows)


def _settled(settled: Mapping[str, Settled]) -> Iterator[str]:
    drawn = []
    for task, one in settled.items():
        if one.before and one.after:
            drawn.append(document.figures([measured.reliability(task, {"before": one.before, "after": one.after})]))
    if drawn or any(one.kept for one in settled.values()):
        yield "<h2>Settled on the validation images</h2>"
    for task, one in settled.items():
        if one.before:
            yield f"<p>{html.escape(task)}: outputs divided by a temperature of {one.answering.temperature:.2f}.</p>"
        for line in operating_point.lines(one.kept):
            yield f"<p>{html.escape(f'{task}: {line}')}</p>"
    yield _columns(drawn)


def _data(found: Report) -> Iterator[str]:
    yield "<h2>Data</h2>"
    splits = list(found.labelled)
    tasks = list(next(iter(found.labelled.values()), {}))
    rows = [[Cell(task), *(_counted(found.labelled[split][task]) for split in splits)] for task in tasks]
    yield cells.table(["images with a label", *splits], rows)
    for task in tasks:
        names = list(dict.fromkeys(name for split in splits for name in found.classes[split][task]))
        rows = [
            [Cell(name), *(_counted(found.classes[split][task].get(name, 0)) for split in splits)] for name in names
        ]
        table = cells.table(["class", *splits], rows, sorts=True)
        yield f"<h3>{html.escape(task)}</h3>"
        yield table if len(rows) <= _FEW else f"<details><summary>{len(rows)} classes</summary>{table}</details>"


def _counted(number: int) -> Cell:
    return cells.number(number, f"{number:,}")
