"""Pictures of a validation for people: answers beside the truth, and confusion between classes."""

import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from thaw import overlay
from thaw.evaluation.evaluate import Confusion
from thaw.tasks.contract import Task
from thaw.training.validation import Seen
from thaw.truth import truths

_CELL, _LETTERS, _MARGIN = 26, 11, 130  # pixels of a confusion matrix
_NAMED = 30  # classes up to which a confusion matrix has names and counts
_WIDEST = 960  # pixels of a picture
_PAPER, _INK, _BLUE = (255, 255, 255), (20, 20, 20), (0, 114, 178)


def answers(seen: Seen, tasks: Mapping[str, Task]) -> Iterator[Image.Image]:
    """Yield a picture an image: what the model answers on the left, what the image carries on the right."""
    labels = {name: task.labels for name, task in tasks.items()}
    colours = overlay.palette(labels)
    given = iter(seen.answers)
    for batch in seen.shown:
        plain = {name: np.asarray(column) for name, column in batch.items()}
        for pixels, truth in zip(plain["pixels"], truths(labels, plain), strict=True):
            image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
            yield _beside(overlay.draw(image, next(given), colours), overlay.draw(image, truth, colours))


def _beside(answer: Image.Image, truth: Image.Image) -> Image.Image:
    """Return two pictures with their headings, no wider than is needed to read them."""
    width, height = answer.width + truth.width + 8, max(answer.height, truth.height)
    sheet = Image.new("RGB", (width, height + 22), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for left, one, heading in ((0, answer, "answer"), (answer.width + 8, truth, "label")):
        pen.text((left + 4, 4), heading, _INK, ImageFont.load_default(14))
        sheet.paste(one, (left, 22))
    sheet.thumbnail((_WIDEST, _WIDEST))
    return sheet


def confusion(names: Sequence[str], table: Sequence[Sequence[int]]) -> Image.Image:
    """Return true classes by row and answered ones by column, as shares of each row; counts where there is room."""
    counts = np.asarray(table, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= _NAMED
    cell, margin = (_CELL, _MARGIN) if named else (max(1, _WIDEST // len(names)), 0)
    shades = _PAPER + (np.asarray(_BLUE) - _PAPER) * shares[:, :, None]
    grid = Image.fromarray(shades.astype(np.uint8)).resize((cell * len(names),) * 2, Image.Resampling.NEAREST)
    sheet = Image.new("RGB", (margin + grid.width, margin + grid.height), _PAPER)
    sheet.paste(grid, (margin, margin))
    if named:
        _write_names(sheet, names)
        _write_counts(sheet, counts, shares)
    return sheet


def _write_names(sheet: Image.Image, names: Sequence[str]) -> None:
    font = ImageFont.load_default(_LETTERS)
    for anchor, left in (("rm", _MARGIN - 6), ("lm", 6)):
        strip = Image.new("RGB", (_MARGIN, _CELL * len(names)), _PAPER)
        pen = ImageDraw.Draw(strip)
        for place, name in enumerate(names):
            pen.text((left, (place + 0.5) * _CELL), name[:20], _INK, font, anchor=anchor)
        upright = anchor == "lm"
        sheet.paste(
            strip.transpose(Image.Transpose.ROTATE_90) if upright else strip,
            (_MARGIN * upright, _MARGIN * (not upright)),
        )
    ImageDraw.Draw(sheet).text((4, 4), "rows: label\ncolumns: answer", _INK, font)


def _write_counts(sheet: Image.Image, counts: np.ndarray, shares: np.ndarray) -> None:
    font, pen = ImageFont.load_default(_LETTERS), ImageDraw.Draw(sheet)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = _PAPER if shares[row, column] > 0.5 else _INK
        spot = (_MARGIN + (column + 0.5) * _CELL, _MARGIN + (row + 0.5) * _CELL)
        pen.text(spot, _short(int(counts[row, column])), ink, font, anchor="mm")


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count:.0e}".replace("e+0", "e")


def mistaken(names: Sequence[str], table: Sequence[Sequence[int]], most: int = 15) -> str:
    """Return the classes most often taken for another, as a table in Markdown."""
    pairs = Confusion(names=tuple(names), counts=tuple(tuple(row) for row in table)).mistaken(most)
    lines = [f"| {one.label} | {one.answer} | {one.times} | {one.share:.0%} |" for one in pairs]
    return "\n".join(["| label | answered | count | share of the label |", "|---|---|---|---|", *lines])


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture as few bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
