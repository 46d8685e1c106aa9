"""Page: an evaluation as one HTML file that asks for nothing else, whatever its names and ids hold."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from thaw import overlay
from thaw.data.labels import LabelSchema
from thaw.evaluation import operating_point
from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.evaluate import Confusion, Scores
from thaw.evaluation.figures import Figures
from thaw.evaluation.pictures import DRAWN, Drawn, beside
from thaw.evaluation.report import charts
from thaw.evaluation.worst import Case
from thaw.metrics.weighted.contract import Candidates
from thaw.page import cells, document, pictures
from thaw.page.cells import Cell

_OPEN = 8
"""Images that are seen at once; the others are a click away."""
_FEW = 12
"""Classes up to which their table is seen at once."""
_PAIRS = 12


@dataclass(frozen=True)
class Part:
    """What is shown of a task beside its figures.

    Attributes:
        kind: of task.
        groups: what thresholds decide about, class by class.
        cases: the images answered worst.
    """

    kind: str
    groups: Sequence[Candidates]
    cases: Sequence[Case]


def page(
    scores: Scores,
    parts: Mapping[str, Part],
    drawn: Drawn,
    labels: Mapping[str, LabelSchema],
    facts: Mapping[str, str],
) -> str:
    """Return an evaluation as HTML.

    Args:
        parts: of every task that has figures.
        drawn: pictures of the cases.
        labels: of the model's tasks.
        facts: what a reader asks of a model's origin, such as its run and dataset.
    """
    body = [*_head(scores, facts)]
    for task, found in scores.figures.items():
        body += _task(task, found, parts[task], scores.confusions.get(task))
        body += _worst(task, parts[task].cases, drawn, labels)
    return document.document(f"{scores.model} on {scores.split} images", body)


def _head(scores: Scores, facts: Mapping[str, str]) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(_sentence(scores))}</p>'
    if scores.looks > 1:
        looks = f"These {scores.split} images have been looked at {scores.looks} times, with this one. "
        yield f'<p class="soft">{looks}The more often a choice is made by them, the less they say of new images.</p>'
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items())
    yield f"<dl>{rows}</dl>"


def _sentence(scores: Scores) -> str:
    told = [f"{task} {_first(found.metrics)}" for task, found in scores.figures.items() if found.metrics]
    return f"{scores.images:,} {scores.split} images: {'; '.join(told)}."


def _first(metrics: Mapping[str, Interval]) -> str:
    name, one = next(iter(metrics.items()))
    return f"{name} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _task(task: str, found: Figures, part: Part, confusion: Confusion | None) -> Iterator[str]:
    yield f"<h2>{html.escape(task)}</h2>"
    yield f'<p class="soft">{part.kind}, {found.images:,} images with a label. Intervals are of 95 %, by bootstrap.</p>'
    yield cells.table(["metric", "value", "from", "to"], [_row(name, one) for name, one in found.metrics.items()])
    for line in operating_point.lines(found.kept):
        yield f"<p>{html.escape(f'Operating point: {line}')}</p>"
    yield f'<div class="charts"><div>{"</div><div>".join(_charts(task, found, part, confusion))}</div></div>'
    yield from _classes(found)
    yield from _slices(found)
    yield from _mistaken(confusion)


def _row(name: str, one: Interval) -> list[Cell]:
    return [Cell(name), *(cells.number(value, f"{value:.3f}") for value in (one.value, one.low, one.high))]


def _charts(task: str, found: Figures, part: Part, confusion: Confusion | None) -> list[str]:
    """Return both columns."""
    metric = next((name for metrics in found.classes.values() for name in reversed(metrics)), "")
    drawn = [
        charts.confusion(task, confusion) if confusion else None,
        charts.precision_recall(task, part.groups),
        charts.classes(task, found.classes, metric),
        charts.receiver(task, part.groups) if part.kind != "detection" else None,
        charts.reliability(task, {"these images": found.reliability}) if found.reliability else None,
    ]
    kept = [one for one in drawn if one]
    return [document.figures(kept[::2]), document.figures(kept[1::2])]


def _classes(found: Figures) -> Iterator[str]:
    metrics = list(dict.fromkeys(name for one in found.classes.values() for name in one))
    rows = [[Cell(name), *(_within(one.get(metric)) for metric in metrics)] for name, one in found.classes.items()]
    if rows:
        table = cells.table(["class", *metrics], rows, sorts=True)
        yield "<h3>Classes</h3>"
        yield table if len(rows) <= _FEW else f"<details><summary>{len(rows)} classes</summary>{table}</details>"


def _slices(found: Figures) -> Iterator[str]:
    for column, values in found.slices.items():
        rows = [
            [
                Cell(name),
                cells.number(one.images, f"{one.images:,}"),
                *(_within(one.metrics.get(metric)) for metric in found.metrics),
            ]
            for name, one in values.items()
        ]
        yield f"<h3>By {html.escape(column)}</h3>"
        yield cells.table([column, "images", *found.metrics], rows, sorts=True)


def _within(one: Interval | None) -> Cell:
    return cells.NONE if one is None else cells.number(one.value, f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})")


def _mistaken(confusion: Confusion | None) -> Iterator[str]:
    pairs = confusion.mistaken(_PAIRS) if confusion else []
    if confusion and pairs:
        rows = [
            [
                Cell(one.label),
                Cell(one.answer),
                cells.number(one.times, f"{one.times:,}"),
                cells.number(one.share, f"{one.share:.0%}"),
            ]
            for one in pairs
        ]
        yield "<h3>Most often mistaken</h3>"
        yield cells.table(["label", "answered", f"{confusion.of}s", "share of the label"], rows)


def _worst(task: str, cases: Sequence[Case], drawn: Drawn, labels: Mapping[str, LabelSchema]) -> Iterator[str]:
    if not cases:
        yield '<p class="soft">Every answer is right.</p>'
        return
    yield "<h3>Answered worst</h3>"
    if labels[task].kind in DRAWN:
        yield pictures.legend(overlay.legend(labels, task))
    shown = [
        pictures.case(beside(case.id, drawn.get(case.id, {}).get(task, ()), ["answer"]), case.note) for case in cases
    ]
    yield pictures.cases(shown, _OPEN)
