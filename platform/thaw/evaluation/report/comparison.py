"""The page of a comparison: what a model changes against another one, and the images whose answers changed most."""

import html
from collections.abc import Iterator, Mapping, Sequence

from thaw import overlay
from thaw.data.labels import LabelSchema
from thaw.evaluation.comparison import Change, Comparison, TaskComparison
from thaw.evaluation.evaluate import Answered
from thaw.evaluation.pictures import DRAWN, Drawn, beside, words
from thaw.page import cells, document, pictures
from thaw.page.cells import Cell
from thaw.truth import Truth

SHOWN = 24
"""Images that are shown of those fixed, and of those broken."""
_OPEN = 8


def page(found: Comparison, answers: Sequence[Answered], drawn: Drawn, labels: Mapping[str, LabelSchema]) -> str:
    """Return a comparison as HTML.

    Args:
        answers: of both models.
        drawn: pictures of the images whose answers changed: the first model's answer, the second one's and the label.
        labels: of the tasks that both models have.
    """
    body = [f'<p class="lead">{html.escape(_sentence(found))}</p>']
    for task, one in found.tasks.items():
        body += _task(task, one, found, labels)
        told = _Told(task, answers, drawn, labels)
        body += told.rows("Fixed", one.fixed)
        body += told.rows("Broken", one.broken)
    return document.document(f"{found.before} against {found.after}", body)


def _sentence(found: Comparison) -> str:
    told = [f"{task}: {len(one.fixed)} fixed, {len(one.broken)} broken" for task, one in found.tasks.items()]
    return (
        f"On the {found.split} images of {found.dataset}, {found.after} in place of {found.before}: {'; '.join(told)}."
    )


def _task(task: str, one: TaskComparison, found: Comparison, labels: Mapping[str, LabelSchema]) -> Iterator[str]:
    yield f"<h2>{html.escape(task)}</h2>"
    chance = "" if one.mcnemar is None else f" McNemar's exact test of fixed and broken: p = {one.mcnemar:.3g}."
    yield f'<p class="soft">{one.images:,} images with a label; intervals of 95 % of the difference.{chance}</p>'
    rows = [
        [
            Cell(name),
            *(cells.number(value, f"{value:.3f}") for value in (each.before, each.after)),
            *(
                cells.number(value, f"{value:+.3f}")
                for value in (each.difference.value, each.difference.low, each.difference.high)
            ),
            Cell("yes" if one.beyond_chance(name) else ""),
        ]
        for name, each in one.metrics.items()
    ]
    yield cells.table(["metric", found.before, found.after, "difference", "from", "to", "beyond chance"], rows)
    if labels[task].kind in DRAWN:
        yield pictures.legend(overlay.legend(labels, task))


class _Told:
    """Images of a task, in pictures and words."""

    def __init__(self, task: str, answers: Sequence[Answered], drawn: Drawn, labels: Mapping[str, LabelSchema]) -> None:
        self._task, self._answers, self._drawn, self._labels = task, answers, drawn, labels[task]
        self._places = {image: place for place, image in enumerate(answers[0].ids)}

    def rows(self, heading: str, changes: Sequence[Change]) -> Iterator[str]:
        """Yield the images whose answers changed most."""
        if not changes:
            return
        some = f", the {SHOWN} most changed" if len(changes) > SHOWN else ""
        yield f"<h3>{heading}: {len(changes):,}{some}</h3>"
        yield pictures.cases([self._case(one) for one in changes[:SHOWN]], _OPEN)

    def _case(self, change: Change) -> str:
        place = self._places[change.id]
        truth = Truth.of(self._labels, self._answers[0].annotations[place][self._task])
        before, after = (words(one.answers[place][self._task]) for one in self._answers)
        drawn = self._drawn.get(change.id, {}).get(self._task, ())
        note = f"{words(truth)}; answered {before}, now {after}"
        return pictures.case(beside(change.id, drawn, ["before", "after"]), note)
