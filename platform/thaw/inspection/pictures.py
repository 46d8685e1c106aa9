"""Pictures: small ones of the images that findings show, with the boxes or masks that they are about."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from thaw import overlay
from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.data.labels import Annotation, LabelSchema
from thaw.inspection.finding import Case, Finding
from thaw.overlay import Colour
from thaw.page.pictures import SIDE, Picture
from thaw.tasks.contract import Marks
from thaw.truth import Truth

BESIDE = 6
"""Most images of one case that are shown, side by side."""

_POINTED: Colour = (255, 72, 0)
_POINTED_AT = "\0"  # no class is called so

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """What is to be seen of an image.

    Attributes:
        task: the one whose boxes or masks are drawn; None for none.
        boxes: x0, y0, x1, y1 in pixels of the upright image, to be drawn in place of all boxes that it carries.
    """

    image: str
    task: str | None = None
    boxes: tuple[Corners, ...] = ()


def views_of(finding: Finding, case: Case, drawn: Collection[str]) -> list[View]:
    """Return what is shown of a case.

    Args:
        drawn: tasks with boxes or masks.
    """
    task = finding.task if finding.task in drawn else None
    return [View(image, task, case.boxes if place == 0 else ()) for place, image in enumerate(case.images[:BESIDE])]


def wanted(findings: Sequence[Finding], drawn: Collection[str]) -> list[View]:
    """Return what all findings show, each once: the first case of every finding, then the second ones, and so on.

    So where there is room for some alone, every finding has its share of it.
    """
    cases = [[views_of(finding, case, drawn) for case in finding.cases] for finding in findings]
    rounds = zip_longest(*cases, fillvalue=[])
    return list(dict.fromkeys(view for one in rounds for views in one for view in views))


def within(found: Mapping[View, Picture], order: Iterable[View], most: int) -> dict[View, Picture]:
    """Return pictures in order for as long as they have room in ``most`` bytes of text."""
    kept: dict[View, Picture] = {}
    for view in order:
        if view in found:
            most -= -(-len(found[view].content) // 3) * 4  # a page holds them in base 64
            if most < 0:
                break
            kept[view] = found[view]
    return kept


def draw(
    content: bytes,
    size: tuple[int, int],
    annotations: Mapping[str, Annotation],
    labels: Mapping[str, LabelSchema],
    views: Sequence[View],
    limits: Limits,
) -> Iterator[Picture]:
    """Yield views of one image in order.

    Args:
        content: as it is stored, which may be smaller than it came.
        size: width and height as it came.
        annotations: by task, in pixels as it is stored.
    """
    pixels = quality.decode(content, limits)
    shares = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    for view in views:
        marks, colours = _marks(view, annotations, labels, shares)
        yield Picture.of(overlay.thumbnail(pixels, marks, colours, SIDE))


def _marks(
    view: View, annotations: Mapping[str, Annotation], labels: Mapping[str, LabelSchema], shares: tuple[float, float]
) -> tuple[Marks, dict[str, Colour]]:
    """Return what a view draws, and the colour of each class in it."""
    carried = Marks() if view.task is None else Truth.of(labels[view.task], annotations[view.task]).marks()
    if not view.boxes:
        return carried, overlay.palette(labels)
    pointed = tuple((_scaled(box, shares), _POINTED_AT, 1.0) for box in view.boxes)
    return replace(carried, boxes=pointed), {**overlay.palette(labels), _POINTED_AT: _POINTED}


def _scaled(box: Corners, shares: tuple[float, float]) -> Corners:
    return box[0] * shares[0], box[1] * shares[1], box[2] * shares[0], box[3] * shares[1]
