"""Preview: training images as the model is shown them, unchanged and as the first epochs change them, on one sheet.

Every picture is the input of the model, not a likeness of it: what draws, mixes and places images in training does so
here, from the same seed.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from thaw import overlay
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data.dataset import Dataset
from thaw.data.excerpt import choose
from thaw.data.feed import Feed
from thaw.errors import ConfigError
from thaw.overlay import Colour, Manner
from thaw.predictor import Answers
from thaw.storage import Root
from thaw.training import run
from thaw.truth import truths

MANNER = Manner(smallest=196, cover=0.2, named=False)
"""There are many pictures, and what matters is what became of the image."""
_WIDEST = 400
"""Pixels of one picture; larger ones are reduced."""
_GAP, _LETTERS, _LINE = 8, 14, 24
_PAPER, _INK, _QUIET = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_PATIENCE = 20
"""Epochs, for each view asked for, in which an image must come to be shown; drawn by chance, some hardly ever do."""
_KEPT = 2
"""Shards that are kept in memory; other images of them are mixed in."""


@dataclass(frozen=True)
class View:
    """One image as the model sees it at one moment.

    Attributes:
        when: what stands above it.
        pixels: (S, S, 3) uint8.
        truth: what it carries, in the same pixels.
    """

    when: str
    pixels: NDArray[np.uint8]
    truth: Answers


@dataclass(frozen=True)
class Shown:
    """A training image: first unchanged, then as training changes it."""

    id: str
    views: Sequence[View]


def shown(root: Root, experiment: Experiment, prepared: Dataset, images: int, views: int) -> Iterator[Shown]:
    """Yield training images, drawn by the experiment's seed, each with its first ``views`` appearances in training.

    Args:
        prepared: the experiment's dataset.

    Raises:
        StorageError: the dataset cannot be read.
    """
    drawn = run.feed_of(experiment, prepared, "train", drawn_by=run.chances(root, experiment, prepared))
    alone = replace(drawn, workers=1, views=experiment.finetune.phases[0].views)
    plain = replace(alone, augment=None, chances=None)

    @functools.lru_cache(maxsize=_KEPT)
    def shard(place: int) -> pa.Table:
        return dataset.read_shard(root, f"{prepared.path}/{prepared.splits['train'][place].file}")

    starts = np.cumsum([0, *alone.shard_rows])
    for row in choose(alone.images, images, experiment.seed):
        place = int(np.searchsorted(starts, row, side="right")) - 1
        image_id = str(shard(place)["id"][int(row - starts[place])].as_py())
        yield Shown(image_id, list(_views(plain, alone, row, views, shard)))


def _views(plain: Feed, drawn: Feed, row: int, views: int, shard: Callable[[int], pa.Table]) -> Iterator[View]:
    labels = drawn.labels
    batch = plain.load_one(row, 0, 0, shard)
    yield View("unchanged", _upright(batch["pixels"][0]), truths(labels, batch)[0])
    for epoch, place in itertools.islice(_moments(drawn, row, views), views):
        batch = drawn.load_one(row, epoch, place, shard)
        yield View(f"epoch {epoch + 1}", _upright(batch["pixels"][0]), truths(labels, batch)[0])


def _moments(feed: Feed, row: int, views: int) -> Iterator[tuple[int, int]]:
    """Yield epoch and place of each time that training shows an image differently."""
    different = _PATIENCE * views if feed.views is None else feed.views
    return ((epoch, place) for epoch in range(different) for place in feed.places(row, epoch))


def _upright(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def sheet(images: Sequence[Shown], colours: dict[str, Colour]) -> Image.Image:
    """Return all views on one sheet, a row an image.

    Args:
        colours: `overlay.palette` of the dataset.
    """
    rows = [[_picture(view, colours) for view in one.views] for one in images]
    wide = max(cell.width for row in rows for cell in row)
    columns = max(len(row) for row in rows)
    heights = [2 * _LINE + max(cell.height for cell in row) for row in rows]
    paper = Image.new("RGB", (_GAP + columns * (wide + _GAP), _GAP + sum(heights) + _GAP * len(rows)), _PAPER)
    pen, font, top = ImageDraw.Draw(paper), ImageFont.load_default(_LETTERS), _GAP
    for one, row, height in zip(images, rows, heights, strict=True):
        pen.text((_GAP, top + _LINE / 2), one.id, _INK, font, anchor="lm")
        for column, (view, cell) in enumerate(zip(one.views, row, strict=True)):
            left = _GAP + column * (wide + _GAP)
            pen.text((left, top + 1.5 * _LINE), view.when, _QUIET, font, anchor="lm")
            paper.paste(cell, (left, top + 2 * _LINE))
        top += height + _GAP
    return paper


def _picture(view: View, colours: dict[str, Colour]) -> Image.Image:
    drawn = overlay.draw(view.pixels, view.truth, colours, MANNER)
    drawn.thumbnail((_WIDEST, 2 * _WIDEST), Image.Resampling.LANCZOS)
    return drawn


def write(picture: Image.Image, out: Path) -> None:
    """Write a picture as PNG.

    Raises:
        ConfigError: it cannot be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out, "PNG")
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written ({error.strerror})") from None
