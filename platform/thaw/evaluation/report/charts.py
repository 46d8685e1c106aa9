"""Charts of one task: confusion, precision over recall, true over false positives, reliability, classes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.evaluation.bootstrap import Interval
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.evaluate import Confusion
from thaw.evaluation.operating_point import sweep
from thaw.metrics.weighted.contract import Candidates, Sample
from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import count, cut

_NAMED = 24
"""Classes up to which a table of confusion has names and counts."""
_LINES = 6
"""Curves in one drawing."""
_ROWS = 30
"""Classes in one drawing."""
_LETTERS = 18
_COLOURS = (paper.PLAIN, paper.BEST, "#4f9d69", "#8e6bbf", "#c79a1b", paper.FADED)


class Curve(NamedTuple):
    """A line from left to right."""

    across: list[float]
    up: list[float]


def groups(sample: Sample, names: Sequence[str]) -> list[Candidates]:
    """Return what thresholds decide about, class by class, or once where all classes share a threshold."""
    found = {one.names: one for name in names for one in sample.candidates(name)}
    return list(found.values())


def confusion(task: str, found: Confusion) -> Chart:
    """Return labels by row and answers by column, as shares of each row."""
    counts = np.asarray(found.counts, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [cut(name, _LETTERS) for name in found.names]
    named = len(names) <= _NAMED
    height = 1.1 + min(0.28 * len(names), 4.2) if named else 4.4

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, rasterized=not named)
        axes.invert_yaxis()
        axes.set_aspect("auto" if named else "equal")
        paper.labelled(axes, "answered", "label")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=8)
        if not named:
            return
        middle = np.arange(len(names)) + 0.5
        axes.set_xticks(middle, names, rotation=90)
        axes.set_yticks(middle, names)
        for row, column in zip(*np.nonzero(counts), strict=True):
            ink = "#ffffff" if shares[row, column] > 0.55 else "#1b1d21"
            text = f"{counts[row, column]:.0f}"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=7)

    return Chart("Confusion", _confused(found), paper.drawn(f"confusion-{task}", f"Confusion of {task}", height, draw))


def _confused(found: Confusion) -> str:
    pairs = found.mistaken(1)
    if not pairs:
        return "No class was taken for another."
    most = pairs[0]
    return (
        f"Most often {most.label} is answered as {most.answer}: {count(most.times, found.of)}, {most.share:.0%} of it."
    )


def precision_recall(task: str, groups: Sequence[Candidates]) -> Chart | None:
    """Return precision over recall as the threshold falls, for the classes that occur most; None without scores."""
    curves = {_name(one): precisions(one) for one in _most(groups)}
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = _square(figure, "recall", "precision")
        _lines(figure, axes, curves)

    said = _said(
        groups, "At each threshold, how many of the answers are right, over how many of the right ones are given"
    )
    return Chart("Precision and recall", said, paper.drawn(f"pr-{task}", f"Precision over recall of {task}", 4.0, draw))


def receiver(task: str, groups: Sequence[Candidates]) -> Chart | None:
    """Return true over false positives as the threshold falls; None where nothing could be a false positive."""
    curves = {_name(one): rates(one) for one in _most([one for one in groups if one.negatives.sum()])}
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = _square(figure, "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=paper.FADED, linewidth=0.8, linestyle=":")
        _lines(figure, axes, curves)

    said = _said(groups, "A model that guesses lies on the dotted line")
    return Chart("Receiver operating characteristic", said, paper.drawn(f"roc-{task}", f"ROC of {task}", 4.0, draw))


def reliability(task: str, found: Mapping[str, Reliability]) -> Chart:
    """Return how often answers of each score are right.

    Args:
        found: what is measured, such as before and after calibration, -> how well scores are to be believed.
    """

    def draw(figure: Figure) -> None:
        axes = _square(figure, "score", "share that is right")
        axes.plot([0, 1], [0, 1], color=paper.FADED, linewidth=0.8, linestyle=":")
        for place, (name, one) in enumerate(found.items()):
            scores, right = [each.confidence for each in one.bins], [each.accuracy for each in one.bins]
            sizes = [12 + 60 * each.answers / max(bin_.answers for bin_ in one.bins) for each in one.bins]
            colour = _COLOURS[-1] if place < len(found) - 1 else paper.PLAIN
            axes.plot(scores, right, color=colour, linewidth=1.2)
            axes.scatter(scores, right, s=sizes, color=colour, label=f"{name}, error {one.error:.3f}")
        paper.legend(figure, axes, columns=1)

    said = "On the dotted line scores mean what they say; larger dots stand for more answers."
    return Chart("Reliability", said, paper.drawn(f"reliability-{task}", f"Reliability of {task}", 4.2, draw))


def classes(task: str, found: Mapping[str, Mapping[str, Interval]], metric: str) -> Chart | None:
    """Return a metric of each class with its interval, the lowest first; None for a single class."""
    values = {name: metrics[metric] for name, metrics in found.items() if metric in metrics}
    if len(values) < 2:
        return None
    order = sorted(values, key=lambda name: values[name].value)[:_ROWS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, name in enumerate(order):
            one = values[name]
            axes.plot([one.low, one.high], [row, row], color=paper.FADED, linewidth=2.5, solid_capstyle="butt")
            axes.plot(one.value, row, "o", color=paper.PLAIN, markersize=5)
        axes.set_yticks(range(len(order)), [cut(name, _LETTERS) for name in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.tick_params(labelsize=8.5)
        paper.labelled(axes, metric, "")
        paper.grid(axes)

    some = f"The {len(order)} lowest of {len(values)}, with" if len(order) < len(values) else "With"
    height = 0.8 + 0.21 * len(order)
    svg = paper.drawn(f"classes-{task}", f"{metric} of each class of {task}", height, draw)
    return Chart("By class", f"{some} intervals of 95 %.", svg)


def _name(group: Candidates) -> str:
    return group.names[0] if len(group.names) == 1 else "all classes"


def _most(groups: Sequence[Candidates]) -> list[Candidates]:
    """Return the groups with the most to be found, those with nothing left out."""
    found = [one for one in groups if one.positives.sum() and len(one.right) + len(one.wrong)]
    return sorted(found, key=lambda one: -float(one.positives.sum()))[:_LINES]


def _said(groups: Sequence[Candidates], what: str) -> str:
    shown, of = len(_most(groups)), len(groups)
    return f"{what}{f'; the {shown} most frequent of {of} classes' if shown < of else ''}."


def precisions(group: Candidates) -> Curve:
    _, hits, false = sweep(group)
    true = group.positives.sum()
    return Curve((hits / true).tolist(), (hits / (hits + false)).tolist())


def rates(group: Candidates) -> Curve:
    _, hits, false = sweep(group)
    across, up = false / group.negatives.sum(), hits / max(group.positives.sum(), 1)
    return Curve([0.0, *across.tolist()], [0.0, *up.tolist()])


def _square(figure: Figure, across: str, up: str) -> Axes:
    axes = figure.subplots()
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    paper.labelled(axes, across, up)
    paper.grid(axes)
    return axes


def _lines(figure: Figure, axes: Axes, curves: Mapping[str, Curve]) -> None:
    for (name, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        marker = "." if len(curve.across) == 1 else ""
        axes.plot(curve.across, curve.up, color=colour, linewidth=1.5, marker=marker, label=cut(name, _LETTERS))
    paper.legend(figure, axes)
