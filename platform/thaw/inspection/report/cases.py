"""Cases: images of a finding in rows, small and side by side, with their ids and what is said of them."""

from collections.abc import Iterator, Mapping

from thaw import overlay
from thaw.data.labels import LabelSchema
from thaw.inspection.finding import Finding
from thaw.inspection.pictures import View, views_of
from thaw.page import pictures as page
from thaw.page.pictures import Picture

_OPEN = 12
"""Cases that are seen at once; the others are a click away."""


def rows(finding: Finding, labels: Mapping[str, LabelSchema], pictures: Mapping[View, Picture]) -> Iterator[str]:
    """Yield the cases of a finding as HTML; an image without a picture is named.

    Args:
        labels: by task with boxes or masks, which are drawn into pictures.
    """
    views = [views_of(finding, case, labels) for case in finding.cases]
    shown = [
        page.case([(view.image, pictures.get(view)) for view in seen], case.note, len(case.images) - len(seen))
        for case, seen in zip(finding.cases, views, strict=True)
    ]
    if finding.task in labels and any(view in pictures and not view.boxes for seen in views for view in seen):
        yield page.legend(overlay.legend(labels, str(finding.task)))
    yield page.cases(shown, _OPEN)
    if finding.cases and finding.count > len(finding.cases):
        yield f'<p class="soft">{len(finding.cases)} of {finding.count:,} are shown, the most telling first.</p>'
