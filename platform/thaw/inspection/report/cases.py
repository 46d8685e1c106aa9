"""Cases: images of a finding in rows, small and side by side, with their ids and what is said of them."""

import base64
import html
from collections.abc import Collection, Iterator, Mapping, Sequence

from thaw.inspection.finding import Case, Finding
from thaw.inspection.pictures import Picture, View, views_of

_OPEN = 12
"""Cases that are seen at once; the others are a click away."""


def rows(finding: Finding, drawn: Collection[str], pictures: Mapping[View, Picture]) -> Iterator[str]:
    """Yield the cases of a finding as HTML; an image without a picture is named.

    Args:
        drawn: tasks with boxes or masks.
    """
    shown = [_case(case, views_of(finding, case, drawn), pictures) for case in finding.cases]
    if shown:
        yield f'<div class="cases">{"".join(shown[:_OPEN])}</div>'
    if rest := shown[_OPEN:]:
        yield (
            f'<details class="rest"><summary>{len(rest)} more</summary><div class="cases">{"".join(rest)}</div>'
            "</details>"
        )
    if finding.cases and finding.count > len(finding.cases):
        yield f'<p class="soft">{len(finding.cases)} of {finding.count:,} are shown, the most telling first.</p>'


def _case(case: Case, views: Sequence[View], pictures: Mapping[View, Picture]) -> str:
    beside = "".join(_picture(view, pictures.get(view)) for view in views)
    hidden = len(case.images) - len(views)
    more = f'<span class="more">and {hidden:,} more</span>' if hidden else ""
    sure = "" if case.score is None else f"{case.score:.3g}"
    said = html.escape(" · ".join(filter(None, [case.note, sure])))
    note = f'<p class="note">{said}</p>' if said else ""
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
