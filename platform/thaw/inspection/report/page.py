"""Page: an inspection as one HTML file that asks for nothing else, whatever its ids and notes hold."""

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from thaw.data.labels import LabelSchema
from thaw.inspection.finding import Finding, Level
from thaw.inspection.inspection import Inspection
from thaw.inspection.pictures import View, wanted, within
from thaw.inspection.report import cases, charts
from thaw.inspection.report.style import CSS
from thaw.page import cells, document
from thaw.page.cells import Cell
from thaw.page.pictures import Picture

BUDGET = 8 * 2**20
"""Most bytes of the pictures in a page."""

_HEADINGS: Mapping[Level, str] = {"gate": "Gates", "warning": "Worth mending", "note": "Worth knowing"}
_FEW = 30
"""Classes up to which their counts are seen at once."""


@dataclass(frozen=True)
class _Shown:
    """What pages show of images.

    Attributes:
        pictures: those that have room.
        labels: by task that is drawn into pictures.
    """

    pictures: Mapping[View, Picture]
    labels: Mapping[str, LabelSchema]


def page(inspection: Inspection, pictures: Mapping[View, Picture], labels: Mapping[str, LabelSchema]) -> str:
    """Return an inspection as HTML.

    Args:
        pictures: of the images that findings show, as far as there are any.
        labels: by task with boxes or masks, which were drawn into pictures of findings of these tasks.
    """
    kept = within(pictures, wanted(inspection.findings, labels), BUDGET)
    shown = _Shown(kept, labels)
    body = [*_head(inspection, len(pictures) - len(kept)), *_findings(inspection, shown), *_carried(inspection)]
    return document.document(f"{inspection.dataset.rpartition('/')[2]}: what was found", body, CSS)


def _head(inspection: Inspection, left_out: int) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(inspection.sentence)}</p>'
    images = ", ".join(f"{count:,} {split}" for split, count in inspection.images.items())
    yield f'<p class="soft">{html.escape(f"{inspection.dataset}: {images}; {inspection.listed:,} were listed.")}</p>'
    if inspection.set_aside:
        told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in inspection.set_aside.items())
        yield f'<p class="soft">{html.escape(f"Set aside while preparing: {told}.")}</p>'
    if inspection.without_vectors:
        over = f"; passed over for want of them: {', '.join(inspection.passed_over)}" if inspection.passed_over else ""
        told = f"Without vectors of the backbone ({inspection.without_vectors}){over}."
        yield f'<p class="soft">{html.escape(told)}</p>'
    if left_out:
        yield f'<p class="soft">{left_out:,} pictures are left out, to keep this page small.</p>'


def _findings(inspection: Inspection, shown: _Shown) -> Iterator[str]:
    lines = "".join(
        f'<li class="{one.level}"><span class="tag">{_tag(one, inspection)}</span>'
        f'<a href="#finding-{place}">{html.escape(one.told)}</a></li>'
        for place, one in enumerate(inspection.findings)
        if one.level != "note"
    )
    if lines:
        yield f'<ul class="contents">{lines}</ul>'
    for level, found in groupby(enumerate(inspection.findings), lambda placed: placed[1].level):
        yield f'<h2>{_HEADINGS[level]}</h2><div class="{level}s">'
        for place, one in found:
            yield from _finding(one, place, inspection, shown)
        yield "</div>"


def _finding(one: Finding, place: int, inspection: Inspection, shown: _Shown) -> Iterator[str]:
    through = " through" if one.name in inspection.let_through else ""
    of = f" · task {one.task}" if one.task else ""
    yield f'<section class="finding {one.level}{through}" id="finding-{place}"><h3>{html.escape(one.told)}</h3>'
    yield f'<p class="name"><span class="tag">{_tag(one, inspection)}</span>{html.escape(one.name + of)}</p>'
    yield f"<p>{html.escape(one.advice)}</p>"
    if facts := charts.listed(one):
        told = " · ".join(f"{name} {value}" for name, value in facts.items())
        yield f'<p class="soft">{html.escape(told)}</p>'
    yield document.figures([charts.bars(one, f"bars{place}")])
    yield from charts.tables(one)
    yield from cases.rows(one, shown.labels, shown.pictures)
    yield "</section>"


def _tag(one: Finding, inspection: Inspection) -> str:
    if one.level != "gate":
        return one.level
    return "gate, let through" if one.name in inspection.let_through else "gate fails"


def _carried(inspection: Inspection) -> Iterator[str]:
    """Yield tables of what the images carry."""
    splits = list(inspection.images)
    tasks = list(next(iter(inspection.labelled.values()), {}))
    if tasks:
        yield "<h2>Images with a label, by task</h2>"
        rows = [[Cell(task), *(_share(inspection, split, task) for split in splits)] for task in tasks]
        yield cells.table(["task", *splits], rows)
    for task in tasks:
        counts = {split: inspection.classes[split][task] for split in splits}
        names = list(next(iter(counts.values()), {}))
        rows = [
            [Cell(name), *(cells.number(counts[split][name], f"{counts[split][name]:,}") for split in splits)]
            for name in names
        ]
        table = cells.table(["class", *splits], rows, sorts=True)
        yield f"<h2>{html.escape(task)}: how often each class occurs</h2>"
        yield table if len(rows) <= _FEW else f"<details><summary>{len(rows)} classes</summary>{table}</details>"


def _share(inspection: Inspection, split: str, task: str) -> Cell:
    labelled, images = inspection.labelled[split][task], inspection.images[split]
    return cells.number(labelled, f"{labelled:,} of {images:,} ({labelled / images:.0%})" if images else "no images")
