"""Chart: a learning curve as it was measured, the law that fits it, and where that leads."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import count
from thaw.probe.curve.curve import Curve


def draw(curve: Curve, name: str) -> Chart:
    """Return the drawing of a curve.

    Args:
        name: a word that no other drawing of the page has.
    """
    title = f"{curve.task}: {curve.metric} by training images"
    caption = (
        f"Dots: linear heads on the frozen backbone after learning from so many images, on "
        f"{count(curve.val, 'validation image')}. Line: the power law that fits them, and nine in ten of those that "
        "would fit other draws of the same images; beyond the images there are it is an expectation."
    )
    return Chart(title, caption, paper.drawn(name, title, 3.4, lambda figure: _draw(figure, curve)))


def _draw(figure: Figure, curve: Curve) -> None:
    axes = figure.subplots()
    axes.set_xscale("log")
    across = [one.images for one in curve.ahead]
    low, high = [one.low for one in curve.ahead], [one.high for one in curve.ahead]
    axes.fill_between(across, low, high, color=paper.PLAIN, alpha=0.18, linewidth=0, label="nine in ten laws")
    axes.plot(across, [one.value for one in curve.ahead], color=paper.PLAIN, linewidth=1.6, label="power law")
    for size, values in zip(curve.sizes, curve.values, strict=True):
        axes.plot([size] * len(values), values, ".", color=paper.INK, alpha=0.5, markersize=4, label="measured")
    axes.axvline(curve.images, color=paper.FADED, linewidth=1, linestyle=":", label="images there are")
    if curve.target is not None:
        axes.axhline(curve.target.value, color=paper.BEST, linewidth=1.4, label="target")
    _scale(axes, curve)
    paper.grid(axes)
    paper.legend(figure, axes)


def _scale(axes: Axes, curve: Curve) -> None:
    paper.labelled(axes, "training images", f"{curve.metric} on validation")
    axes.xaxis.set_major_locator(LogLocator(10, (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda images, _: f"{images:,.0f}"))
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), min(top, 1.01))
