"""Paper: what all charts are drawn on, and how a drawing becomes SVG inside a page.

Drawings are as wide as a phone and are scaled up elsewhere. Text stays text and takes the colour of the page around it.
The colours can be told apart by the colour-blind: a light-to-dark scale, one blue, one orange.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from thaw.page.wording import cut

WIDE = 4.8
"""Inches of 72 units: about what a phone shows of them at a text's own size."""

BEST, PLAIN, FADED = "#c1440e", "#1f5fa8", "#8a8f98"
INK = "#010203"
"""Stands for the colour of the page's text; written nowhere."""

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a name with $ in it is no formula
    "xtick.color": INK,
    "ytick.color": INK,
}
_LIGHTEST = 0.08


@dataclass(frozen=True)
class Chart:
    """A drawing and what is seen in it."""

    title: str
    caption: str
    """One sentence of plain text."""
    svg: str


def drawn(name: str, title: str, height: float, draw: Callable[[Figure], None]) -> str:
    """Return what ``draw`` leaves on a figure, as SVG.

    Args:
        name: a word that no other drawing of the page has; the names inside are made from it.
        title: what a screen reader says.
        height: inches.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # measured wrongly here, shown rightly by the browser
        figure = Figure(figsize=(WIDE, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True)
    return _inline(text.getvalue(), title)


def shade(values: list[float]) -> Callable[[float], tuple[float, ...]]:
    """Return what gives a score its colour: the higher the darker; the lowest quarter share the lightest one."""
    low, high = sorted(values)[len(values) // 4], max(values)
    scale = Normalize(low, high if high > low else low + 1, clip=True)
    return lambda value: tuple(colormaps["viridis_r"](_LIGHTEST + (1 - _LIGHTEST) * float(scale(value))))


def density(lines: int) -> float:
    """Return how opaque each of so many lines is: the fewer, the more."""
    return max(0.3, min(0.85, 30 / lines))


def labelled(axes: Axes, across: str, up: str) -> None:
    """Name both axes, shortened to where there is room."""
    axes.set_xlabel(cut(across, 50))
    axes.set_ylabel(cut(up, 30))


def grid(axes: Axes) -> None:
    """Rule the paper."""
    axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.7)
    axes.set_axisbelow(True)


def legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Say below the drawing what its lines are, each once."""
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    order = list(dict.fromkeys(labels))
    figure.legend([first[label] for label in order], order, loc="outside lower center", ncols=columns)


def _inline(text: str, title: str) -> str:
    """Return the drawing without what only a file needs, and with its title."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns:xlink="[^"]*"', "", text, count=1).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))
    text = re.sub(r'<g id="[A-Za-z.]+(?:2d)?_\d+">', "<g>", text)  # the same in every drawing, and used by none
    spoken = html.escape(title)
    text = re.sub(r"(<svg[^>]*)>", rf'\1 role="img" aria-label="{_literal(spoken)}">', text, count=1)
    text = text.replace(">", f"><title>{spoken}</title>", 1)
    return text.replace(INK, "currentColor").strip()


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
