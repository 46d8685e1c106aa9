"""Charts of a run: losses and metrics by epoch with phases marked, and the rate of every layer group over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from thaw.model import HEADS
from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import cut
from thaw.training.plan import FinetunePlan
from thaw.training.state import Epoch

_POINTS = 400
"""Steps at which rates are drawn."""
_CURVE = {"training": paper.FADED, "unchanged training images": "#4f9d69", "validation": paper.PLAIN}


def losses(task: str, history: Sequence[Epoch]) -> Chart:
    """Return the losses of a task after every epoch."""
    found = {
        "training": {epoch.epoch: epoch.train_loss.get(task) for epoch in history},
        "unchanged training images": {epoch.epoch: epoch.plain_loss.get(task) for epoch in history},
        "validation": {epoch.epoch: epoch.val_loss.get(task) for epoch in history},
    }
    said = "Training losses are of augmented images, with dropout; the other two may be compared with each other."
    return _curves(f"loss-{task}", f"Loss of {task}", said, "loss", found, history)


def metric(task: str, name: str, history: Sequence[Epoch]) -> Chart | None:
    """Return a metric of a task after every epoch; None where it was never measured."""
    found = {
        "unchanged training images": {epoch.epoch: epoch.train_metrics.get(task, {}).get(name) for epoch in history},
        "validation": {epoch.epoch: epoch.metrics.get(task, {}).get(name) for epoch in history},
    }
    known = [(value, epoch) for epoch, value in found["validation"].items() if value is not None]
    if not known:
        return None
    best, epoch = max(known, key=lambda one: one[0])
    said = f"Highest on validation images after epoch {epoch}: {best:.3f}."
    return _curves(f"metric-{task}", f"{name} of {task}", said, name, found, history)


def rates(plan: FinetunePlan, history: Sequence[Epoch]) -> Chart:
    """Return the rate of every layer group, and of the heads, over the steps that were done."""
    done = np.concatenate([np.arange(max(0, epoch.step - plan.epoch_steps), epoch.step) for epoch in history])
    every = done[np.unique(np.linspace(0, len(done) - 1, _POINTS).astype(int))]
    drawn = {step: plan.rates_at(step) for step in every.tolist() if step < plan.steps}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shades = colormaps["viridis"](np.linspace(0.85, 0.1, max(1, len(plan.groups))))
        for group, shade in zip(plan.groups, shades, strict=True):
            _rate(axes, drawn, group, plan.epoch_steps, shade)
        _rate(axes, drawn, HEADS, plan.epoch_steps, paper.BEST)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        paper.labelled(axes, "epoch", "learning rate")
        paper.grid(axes)
        paper.legend(figure, axes)

    said = "A group without a line is frozen. Groups are listed from the input to the head."
    return Chart("Rates of the layer groups", said, paper.drawn("rates", "Learning rates", 4.2, draw))


def _rate(axes: Axes, drawn: Mapping[int, Mapping[str, float]], group: str, epoch_steps: int, colour: object) -> None:
    values = [rates.get(group, np.nan) or np.nan for rates in drawn.values()]
    if not np.isnan(values).all():
        epochs = [step / epoch_steps for step in drawn]
        axes.plot(epochs, values, color=colour, linewidth=1.5, label=cut(group, 18))


def _curves(
    name: str,
    title: str,
    said: str,
    up: str,
    found: Mapping[str, Mapping[int, float | None]],
    history: Sequence[Epoch],
) -> Chart:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for label, values in found.items():
            known = {epoch: value for epoch, value in values.items() if value is not None}
            if known:
                marker = "." if len(known) < 3 else ""
                axes.plot(list(known), list(known.values()), color=_CURVE[label], marker=marker, label=label)
        _phases(axes, history)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        paper.labelled(axes, "epoch", up)
        paper.grid(axes)
        paper.legend(figure, axes, columns=1)

    return Chart(title, said, paper.drawn(name, title, 3.9, draw))


def _phases(axes: Axes, history: Sequence[Epoch]) -> None:
    """Mark where the number of open layer groups changes."""
    top = axes.get_xaxis_transform()
    depth = None
    for epoch in history:
        if epoch.depth != depth:
            edge = epoch.epoch - 0.5
            axes.axvline(edge, color=paper.INK, linewidth=0.7, linestyle=":", alpha=0.6)
            axes.text(edge + 0.05, 1.01, f"depth {epoch.depth}", transform=top, fontsize=7.5, alpha=0.8)
            depth = epoch.depth
