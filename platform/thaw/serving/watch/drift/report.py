"""Report: a drift as JSON, as one page, and as a few lines. Nothing here compares anything."""

import html
from collections.abc import Iterator, Sequence

from PIL import Image

from thaw.config.limits import Limits
from thaw.data import quality
from thaw.data.quality import BadImage
from thaw.evaluation.bootstrap import Interval
from thaw.inspection.finding import Finding
from thaw.inspection.report import charts
from thaw.page import cells, document, pictures, wording
from thaw.page.cells import Cell
from thaw.page.pictures import SIDE, Picture
from thaw.serving.watch.drift.drift import FOLDER, Drift, Found
from thaw.serving.watch.drift.shift import Shift
from thaw.storage import Root


def publish(root: Root, found: Found) -> str:
    """Write a drift beside those of other versions, in place of an earlier one; return the page's path.

    Raises:
        StorageError: the store does not take it.
    """
    place = f"{FOLDER}/{found.drift.model}/{found.drift.version}"
    root.write_bytes(f"{place}.html", page(found).encode())
    root.write_json(f"{place}.json", found.drift.model_dump(mode="json"))
    return f"{place}.html"


def sentence(drift: Drift) -> str:
    """Return what is concluded."""
    days = f"{wording.count(drift.answers, 'answer')} from {drift.first} to {drift.last}"
    if drift.drifted:
        *others, last = drift.drifted
        what = f"{', '.join(others)} and {last}" if others else last
        return f"{drift.model}/{drift.version} has drifted, by {days}: {what}."
    return f"{drift.model}/{drift.version} has not drifted, by {days}."


def lines(drift: Drift) -> Iterator[str]:
    """Yield what was found, for a person."""
    yield sentence(drift)
    if drift.images:
        yield f"images    told from validation images with AUC {drift.images.auc:.3f} (p {drift.images.p:.3f})"
    else:
        yield "images    not compared: too few vectors are kept; set serve.log.embedding, or serve.log.image to full"
    for name, one in drift.tasks.items():
        of = f" by {one.of}" if one.of else ""
        yield f"{name:<9} index {_told(one.index)}{of} (p {one.p:.3f}){_confidences(one)}"
    for name, found in drift.accuracy.items():
        metric, value = next(iter(found.metrics.items()), (None, None))
        if metric and value:
            yield f"{name:<9} {metric} {_told(value)} on {found.images} answers that were spoken of"


def page(found: Found) -> str:
    """Return a drift as HTML."""
    drift = found.drift
    body = [*_head(drift), *_tasks(drift), *_accuracy(drift), *_strangest(found.strangest)]
    return document.document(f"Drift of {drift.model}/{drift.version}", body)


def _head(drift: Drift) -> Iterator[str]:
    yield f'<p class="lead">{html.escape(sentence(drift))}</p>'
    bounds = drift.bounds
    yield (
        f'<p class="soft">Compared with validation images of {html.escape(drift.dataset)}. Something has drifted where '
        f"it differs much (images: AUC of at least {bounds.auc:g}; answers: index of at least {bounds.index:g}) and "
        f"such a difference would be chance in at most {bounds.p:.0%} of cases, if images were independent.</p>"
    )
    if drift.images is None:
        yield "<p>Images were not compared: too few vectors are kept.</p>"
        return
    images = drift.images
    yield (
        f"<p>A linear classifier on what the backbone makes of images, shown one of validation and one that the model "
        f"was asked about, tells which is which in {images.auc:.0%} of cases; half would be chance "
        f"(p = {images.p:.3f}; {images.seen[1]:,} images against {images.seen[0]:,}).</p>"
    )


def _tasks(drift: Drift) -> Iterator[str]:
    if not drift.tasks:
        return
    yield "<h2>Answers</h2>"
    heading = ["task", "index", "95 % interval", "p", "of", "mean score before", "now", "images before", "now "]
    rows = [_row(name, one) for name, one in drift.tasks.items()]
    yield cells.table(heading, rows)
    yield '<div class="charts">'
    for place, (name, one) in enumerate(drift.tasks.items()):
        shares = {"validation images": one.reference, "asked about": one.live}
        finding = Finding(name="share_of_images", level="note", task=name, told="", advice="", count=0, figures=shares)
        yield document.figures([charts.bars(finding, f"task{place}")])
    yield "</div>"


def _row(name: str, one: Shift) -> list[Cell]:
    scores = [cells.number(score, "" if score is None else f"{score:.3f}") for score in one.confidence]
    return [
        Cell(name),
        cells.number(one.index.value, f"{one.index.value:.3f}"),
        Cell(f"{one.index.low:.3f} to {one.index.high:.3f}"),
        cells.number(one.p, f"{one.p:.3f}"),
        Cell(one.of or "all classes"),
        *scores,
        *(cells.number(count, f"{count:,}") for count in one.images),
    ]


def _accuracy(drift: Drift) -> Iterator[str]:
    if not drift.accuracy:
        return
    yield "<h2>Right answers, of those that were spoken of</h2>"
    rows = [
        [Cell(name), Cell(metric), cells.number(value.value, f"{value.value:.3f}"),
         Cell(f"{value.low:.3f} to {value.high:.3f}"), cells.number(found.images, f"{found.images:,}")]
        for name, found in drift.accuracy.items()
        for metric, value in found.metrics.items()
    ]  # fmt: skip
    yield cells.table(["task", "metric", "value", "95 % interval", "answers"], rows)


def _strangest(strangest: Sequence[tuple[bytes, float]]) -> Iterator[str]:
    shown = [
        pictures.case([("", picture)], f"{off:.1f} standard deviations off")
        for content, off in strangest
        if (picture := _picture(content)) is not None
    ]
    if shown:
        yield "<h2>Images least like those of validation</h2>"
        yield pictures.cases(shown, len(shown))


def _picture(content: bytes) -> Picture | None:
    try:
        small = Image.fromarray(quality.decode(content, Limits()))
    except BadImage:
        return None
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Picture.of(small)


def _told(one: Interval) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _confidences(one: Shift) -> str:
    before, now = one.confidence
    return f", mean score {before:.3f} -> {now:.3f}" if before is not None and now is not None else ""
