"""What `thaw inspect` finds of files and pictures that were spoilt, and what it says of those that were not.

    THAW_DATA=... python tests/bench/bench_files.py [--sets pets grocery] [--images N]

A few images of a set are spoilt in one way at a time and laid beside the others; ``recall`` is the share of them that
the finding of that fault names. ``false`` is what share of the set as it is the same finding names; photographs that
are dark or blurred indeed are among them. Lines with figures go to stderr; the last line of stdout is one JSON object.
"""

import argparse
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench_inspect import TASKS, Row, described, examined, measured, sampled, written
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from thaw.config.experiment import Experiment
from thaw.data.dataset import Dataset, Report
from thaw.inspection.checks import files
from thaw.inspection.finding import SHOWN, Finding
from thaw.inspection.material import Material

EACH = 20
"""Images that are spoilt in each way: no more than a finding shows."""
SPLITS = ("train", "val", "test")

Spoil = Callable[[bytes, random.Random], bytes]


def truncate(content: bytes, draw: random.Random) -> bytes:
    """Keep the first fifth to nine tenths of a file."""
    return content[: int(len(content) * draw.uniform(0.2, 0.9))]


def damage(content: bytes, draw: random.Random) -> bytes:
    """Overwrite 64 bytes somewhere; of a JPEG most such places still make a picture, with a stripe in it."""
    place = draw.randrange(len(content) - 64)
    return content[:place] + draw.randbytes(64) + content[place + 64 :]


def as_png(content: bytes, _draw: random.Random) -> bytes:
    """Return the same picture in another format."""
    buffer = io.BytesIO()
    _opened(content).save(buffer, "PNG")
    return buffer.getvalue()


def changed(change: Callable[[Image.Image, random.Random], Image.Image]) -> Spoil:
    """Return what changes a picture, and keeps the format of its file."""

    def spoilt(content: bytes, draw: random.Random) -> bytes:
        buffer = io.BytesIO()
        change(_opened(content), draw).save(buffer, "JPEG", quality=draw.randint(60, 95))
        return buffer.getvalue()

    return spoilt


def _opened(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


def one_colour(image: Image.Image, draw: random.Random) -> Image.Image:
    """Return a picture of the same size in any one colour."""
    return Image.new("RGB", image.size, tuple(draw.randrange(256) for _ in range(3)))


def blur(image: Image.Image, draw: random.Random) -> Image.Image:
    """Blur a picture by 2 to 4 pixels of one whose longer side has 256."""
    return image.filter(ImageFilter.GaussianBlur(draw.uniform(2, 4) * max(image.size) / 256))


def darken(image: Image.Image, draw: random.Random) -> Image.Image:
    """Leave a twentieth to a seventh of the light."""
    return ImageEnhance.Brightness(image).enhance(draw.uniform(0.05, 0.15))


def brighten(image: Image.Image, draw: random.Random) -> Image.Image:
    """Leave a fiftieth to a twentieth of what a picture is darker than white."""
    share = draw.uniform(0.02, 0.05)
    return image.point(lambda value: round(255 - (255 - value) * share))


def strip(image: Image.Image, draw: random.Random) -> Image.Image:
    """Cut a strip out of a picture, four to eight times as wide as high."""
    high = max(8, round(image.width / draw.uniform(4, 8)))
    top = draw.randint(0, image.height - high)
    return image.crop((0, top, image.width, top + high))


def shrink(image: Image.Image, draw: random.Random) -> Image.Image:
    """Return a thumbnail of a seventh to a quarter of each side."""
    share = draw.uniform(0.15, 0.25)
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


FAULTS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "empty": (lambda _content, _draw: b"", ("files_empty",)),
    "not an image": (lambda _content, _draw: b"<html>404</html>", ("files_not_an_image",)),
    "truncated": (truncate, ("files_truncated", "files_corrupt")),
    "64 bytes overwritten": (damage, ("files_truncated", "files_corrupt", "files_not_an_image")),
    "wrong extension": (as_png, ("files_wrong_extension",)),
    "one colour": (changed(one_colour), ("images_one_colour",)),
    "blurred": (changed(blur), ("images_blurred",)),
    "dark": (changed(darken), ("images_dark",)),
    "bright": (changed(brighten), ("images_bright",)),
    "odd aspect": (changed(strip), ("images_odd_aspect",)),
    "odd size": (changed(shrink), ("images_odd_size",)),
}
"""What is done to a file, and the findings that may name it."""


def checked(experiment: Experiment, found: Sequence[dict[str, Any]]) -> list[Finding]:
    """Return what the check of files says of images."""
    report = Report(listed=len(found), rejected={}, classes={}, labelled={}, warnings=())
    prepared = Dataset(name="bench", fingerprint="0", labels={}, splits=dict.fromkeys(SPLITS, ()), report=report)
    rejected = tuple({key: one[key] for key in ("id", "reason", "detail")} for one in found if one["reason"])
    return list(files.check(Material(experiment, prepared, measured(found), {}, rejected, {}, {}, {}, None)))


def spoilt(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return recall and false alarms of every fault in one set."""
    table, draw = sampled(options, name)
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as place:
        folder = Path(place)
        experiment = described(name, written(name, table, folder))
        clean = examined(experiment)
        counts = {one.name: one.count for one in checked(experiment, clean)}
        told: dict[str, Any] = {"images": len(table)}
        for fault, (spoil, names) in FAULTS.items():
            planted = _planted(name, draw.sample(table, EACH), spoil, draw, folder / fault.replace(" ", "_"))
            found = checked(experiment, [*clean, *planted])
            named = {case.images[0] for one in found if one.name in names for case in one.cases}
            hits = [one["id"] in named for one in planted]
            false = sum(counts.get(one, 0) for one in names) / len(table)
            told[fault] = {"recall": sum(hits) / len(hits), "false": round(false, 4)}
            print(f"{name}, {fault}: {told[fault]}", file=sys.stderr, flush=True)
    return told


def _planted(name: str, chosen: Sequence[Row], spoil: Spoil, draw: random.Random, folder: Path) -> list[dict[str, Any]]:
    """Write spoilt copies of images into a folder of their own, and return what is found of them."""
    folder.mkdir()
    made = [Row(f"{folder.name}-{place}.jpg", row.split, row.label) for place, row in enumerate(chosen)]
    table = written(name, made, folder)
    for row, copy in zip(chosen, made, strict=True):
        (folder / copy.file).write_bytes(spoil((folder / row.file).read_bytes(), draw))
    return examined(described(name, table))


def main() -> None:
    """Spoil images of each set and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["pets", "grocery"], choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="look at so many images of each set; at all of them when left out")
    options = parser.parse_args()
    assert EACH <= SHOWN, "recall is counted among the cases that are shown"
    print(json.dumps({name: spoilt(name, options) for name in options.sets}))


if __name__ == "__main__":
    main()
