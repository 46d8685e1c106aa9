"""Bars: how much of what set good trials apart was due to each dimension."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from thaw.page import paper
from thaw.page.paper import Chart
from thaw.page.wording import cut
from thaw.tuning.report import wording

_TITLE = "Importance of each dimension"


def draw(shares: Mapping[str, float]) -> Chart | None:
    """Return a bar a dimension, in the order given; None without any.

    Args:
        shares: place -> share, as `importance` returns them.
    """
    if not shares:
        return None
    names = wording.short(shares)
    place, share = max(shares.items(), key=lambda one: one[1])
    caption = f"{names[place]} decided most: {share:.0%} of what set the good trials apart from the rest."
    svg = paper.drawn(
        "bars", f"{_TITLE}: {caption}", 0.2 + 0.46 * len(shares), lambda figure: _draw(figure, shares, names)
    )
    return Chart(_TITLE, caption, svg)


def _draw(figure: Figure, shares: Mapping[str, float], names: Mapping[str, str]) -> None:
    axes = figure.subplots()
    most = max(shares.values())
    for row, (place, share) in enumerate(shares.items()):
        axes.barh(row, share, height=0.42, color=paper.BEST if share == most else paper.PLAIN)
        axes.text(0, row - 0.3, cut(names[place], 48), va="bottom", in_layout=False)
        axes.text(share + 0.01 * most, row, f" {share:.0%}", va="center")
    axes.set_xlim(0, most * 1.15)
    axes.set_ylim(len(shares) - 0.6, -0.75)
    axes.set_axis_off()
