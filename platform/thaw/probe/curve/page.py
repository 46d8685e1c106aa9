"""Page: learning curves as one HTML file that asks for nothing else."""

import html
from collections.abc import Iterator

from thaw.page import cells
from thaw.page.cells import Cell
from thaw.page.document import document, figures
from thaw.probe.curve import chart, wording
from thaw.probe.curve.curve import Curve
from thaw.probe.curve.result import Result
from thaw.probe.curve.target import ClassReach, Target


def page(name: str, result: Result) -> str:
    """Return the page.

    Args:
        name: the experiment's.
    """
    return document(f"{name}: how many more images?", _sections(result))


def _sections(result: Result) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(wording.PROXY)}</p>'
    yield f'<p class="soft">{html.escape(f"{result.backbone} at {result.image_size} pixels, {result.dataset}")}</p>'
    for number, curve in enumerate(result.curves):
        yield f"<h2>{html.escape(curve.task)}</h2>"
        yield _paragraph(wording.expected(curve))
        if curve.target is not None:
            yield _paragraph(wording.taken(curve, curve.target))
        yield figures([chart.draw(curve, f"curve{number}")])
        if curve.target is not None:
            yield _classes(curve, curve.target)
    for task, why in result.left_out.items():
        yield f"<h2>{html.escape(task)}</h2>"
        yield _paragraph(f"No curve: {why}.")


def _classes(curve: Curve, target: Target) -> str:
    """Return a table of what each class takes, those that lack most first."""
    heading = ["class", "images there are", "its part of the target", "recall now", "the same recall takes"]
    order = sorted(target.classes.items(), key=lambda one: (one[1].have - (one[1].share or 0), one[0]))
    table = cells.table(heading, [_row(name, one) for name, one in order], sorts=True)
    return f"<details><summary>{html.escape(curve.task)} by class</summary>{table}</details>"


def _row(name: str, one: ClassReach) -> list[Cell]:
    return [
        Cell(name),
        cells.number(one.have, f"{one.have:,}"),
        cells.number(one.share, "" if one.share is None else f"{one.share:,}"),
        cells.number(one.recall, "" if one.recall is None else f"{one.recall:.3f}"),
        Cell(wording.images(one.reach)) if one.reach else cells.NONE,
    ]


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
