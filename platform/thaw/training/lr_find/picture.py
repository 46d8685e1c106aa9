"""Picture: loss against rate, a panel for each sweep, as a PNG."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from thaw.training.lr_find.curve import Curve, Losses
from thaw.training.lr_find.finding import Finding

_WIDE, _HIGH, _DOTS_PER_INCH = 7.5, 4.2, 130
_DOT, _LINE, _LEVEL, _SUGGESTION = "0.8", "#1f5fa8", "0.45", "#c1440e"
_TASKS = ("#7a9cc6", "#8fbf8a", "#c9a66b", "#b78fc0", "#7fbfbf")
_MARGIN = 0.12
"""Room above and below what a panel is to show, as a share of it."""


def draw(name: str, found: Finding) -> bytes:
    """Return a picture of all sweeps of a range test.

    Args:
        name: the experiment's.
    """
    curves = found.curves
    figure = Figure(figsize=(_WIDE, _HIGH * len(curves)), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    for axes, (what, (curve, rate)) in zip(panels, curves.items(), strict=True):
        _panel(axes, curve, rate)
        groups = (
            "heads alone" if what == "heads" else f"{found.depth} layer groups open, heads at {found.head_rate:.1e}"
        )
        axes.set_title(f"{name}: {groups}", loc="left", fontsize=11)
        axes.set_xlabel(f"learning rate of the {'heads' if what == 'heads' else 'group next to the heads'}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _panel(axes: Axes, curve: Curve, rate: float) -> None:
    smoothed = curve.smoothed()
    axes.set_xscale("log")
    axes.axhline(curve.level, color=_LEVEL, linewidth=1, linestyle=":", label="without learning")
    axes.plot(curve.rates, _sums(curve.losses, curve.weights), ".", color=_DOT, markersize=4, label="each batch")
    if len(curve.weights) > 1:
        for (task, values), colour in zip(curve.smoothed_by_task().items(), _TASKS * len(curve.weights), strict=False):
            weighted = [value * curve.weights[task] for value in values]
            axes.plot(curve.rates, weighted, color=colour, linewidth=1.2, label=f"{task}, weighted")
    axes.plot(curve.rates, smoothed, color=_LINE, linewidth=2.2, label="smoothed, batches made comparable")
    axes.axvline(rate, color=_SUGGESTION, linewidth=1.5, label=f"suggested: {rate:.1e}")
    axes.plot(curve.rates[curve.lowest_at], min(smoothed), "v", color=_LINE, markersize=8, label="lowest")
    axes.set_ylim(*_limits(curve))
    axes.set_ylabel("loss, tasks weighted" if len(curve.weights) > 1 else "loss")
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _sums(losses: Sequence[Losses], weights: Losses) -> list[float]:
    """Return each batch's loss, tasks weighted; no number where a task had no label, for that sum is another one."""
    return [
        sum(weights[task] * value for task, value in one.items()) if one.keys() == weights.keys() else float("nan")
        for one in losses
    ]


def _limits(curve: Curve) -> tuple[float, float]:
    """Return from where to where a panel shows the loss: the whole fall, and of the rise as much again."""
    values = [*curve.smoothed(), curve.level]
    if len(curve.weights) > 1:
        values += [value * curve.weights[task] for task, found in curve.smoothed_by_task().items() for value in found]
    low = min(values)
    high = min(max(values), curve.level + 0.6 * (curve.level - low))
    margin = _MARGIN * max(high - low, 1e-6)
    return low - margin, high + margin
