"""Cases: images of a finding in rows, small and side by side, with their ids and what is said of them."""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence

from thaw import overlay
from thaw.data.labels import LabelSchema
from thaw.inspection.finding import Case, Finding
from thaw.inspection.pictures import Picture, View, views_of

_OPEN = 12
"""Cases that are seen at once; the others are a click away."""
_COLOURS = 12
"""Classes whose colours are told."""


def rows(finding: Finding, labels: Mapping[str, LabelSchema], pictures: Mapping[View, Picture]) -> Iterator[str]:
    """Yield the cases of a finding as HTML; an image without a picture is named.

    Args:
        labels: by task with boxes or masks, which are drawn into pictures.
    """
    views = [views_of(finding, case, labels) for case in finding.cases]
    shown = [_case(case, seen, pictures) for case, seen in zip(finding.cases, views, strict=True)]
    if finding.task in labels and any(view in pictures and not view.boxes for seen in views for view in seen):
        yield _legend(labels[str(finding.task)], overlay.palette(labels))
    if shown:
        yield f'<div class="cases">{"".join(shown[:_OPEN])}</div>'
    if rest := shown[_OPEN:]:
        yield (
            f'<details class="rest"><summary>{len(rest)} more</summary><div class="cases">{"".join(rest)}</div>'
            "</details>"
        )
    if finding.cases and finding.count > len(finding.cases):
        yield f'<p class="soft">{len(finding.cases)} of {finding.count:,} are shown, the most telling first.</p>'


def _legend(schema: LabelSchema, colours: Mapping[str, overlay.Colour]) -> str:
    """Return which colour is which class."""
    names = [name for name in schema.names if name != overlay.BACKGROUND]
    named = "".join(
        f'<span><i style="background: rgb{colours[name]}"></i>{html.escape(name)}</span>' for name in names[:_COLOURS]
    )
    more = f"<span>and {len(names) - _COLOURS:,} more</span>" if len(names) > _COLOURS else ""
    return f'<p class="legend">{named}{more}</p>'


def _case(case: Case, views: Sequence[View], pictures: Mapping[View, Picture]) -> str:
    beside = "".join(_picture(view, pictures.get(view)) for view in views)
    hidden = len(case.images) - len(views)
    more = f'<span class="more">and {hidden:,} more</span>' if hidden else ""
    note = f'<p class="note">{html.escape(case.note)}</p>' if case.note else ""
    kind = "case one" if len(case.images) == 1 else "case"
    return f'<div class="{kind}"><div class="beside">{beside}{more}</div>{note}</div>'


def _picture(view: View, picture: Picture | None) -> str:
    name = html.escape(view.image)
    if picture is None:
        return f'<div class="picture"><div class="none">no picture</div><span>{name}</span></div>'
    content = base64.b64encode(picture.content).decode("ascii")
    return (
        f'<div class="picture"><img src="data:image/jpeg;base64,{content}" width="{picture.width}" '
        f'height="{picture.height}" alt="{name}"><span>{name}</span></div>'
    )
