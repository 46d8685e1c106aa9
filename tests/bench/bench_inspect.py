"""What `thaw inspect` finds of faults that were planted in real images, and what it takes for faults that are none.

    THAW_DATA=... python tests/bench/bench_inspect.py [copies groups] [--sets pets grocery] [--images N]

``copies`` plants exact and near copies of images of one split in another, and asks which are found, and how many images
of the set are said to be copies of another one of it; pairs that a person judged to be copies indeed, photographs of
one scene taken at once or one photograph twice, are counted apart. ``groups`` times the search on random signatures.
Each fault is one function that returns its figures. Lines with figures go to stderr; the last line of stdout is one
JSON object.
"""

import argparse
import base64
import csv
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance, ImageOps

from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import check, facts, prepare, signature
from thaw.inspection.likeness import groups

TASKS = {"pets": "breed", "grocery": "product", "steel": "defect"}
SPLITS = ("train", "val", "test")
EACH = 60
"""Copies of each kind that are planted in a set."""
RANDOM = 100_000


@dataclass(frozen=True)
class Row:
    """One image of a set."""

    file: str
    split: str
    label: str


Change = Callable[[Image.Image, random.Random], Image.Image]


def rows(name: str) -> list[Row]:
    """Return the images of a set."""
    source, task = Path(os.environ["THAW_DATA"]) / name, TASKS[name]
    if (source / "metadata.jsonl").exists():
        found = [json.loads(line) for line in (source / "metadata.jsonl").read_text().splitlines()]
        return [Row(row["file_name"], row["split"], row[task]) for row in found]
    return [
        Row(row["file_name"], split, row[task])
        for split in SPLITS
        for row in csv.DictReader((source / f"{split}.csv").read_text().splitlines())
    ]


def written(name: str, table: Sequence[Row], folder: Path) -> Path:
    """Write a table of images beside links to those of a set."""
    for entry in (Path(os.environ["THAW_DATA"]) / name).iterdir():
        if entry.is_dir():
            (folder / entry.name).symlink_to(entry)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "split", TASKS[name]])
        writer.writerows([row.file, row.split, row.label] for row in table)
    return folder / "rows.csv"


def described(name: str, table: Path) -> Experiment:
    """Return an experiment on a table's images."""
    source = {"type": "table", "path": str(table)}
    values = {"name": name, "data": {"source": source}, "tasks": {TASKS[name]: {"type": "classification"}}}
    return load.parse(values, "bench")


def examined(experiment: Experiment) -> list[dict[str, Any]]:
    """Return what is found of an experiment's images, with their splits; those that cannot be used have a reason."""
    opened = prepare.open_source(experiment.data.source)
    references = list(opened.references())
    found = check.examine(opened, check.questions(experiment, references), experiment.data.limits)
    splits = {one.id: one.split for one in references}
    return [{**one, **(one["measured"] or {}), "split": splits[one["id"]]} for one in found]


def measured(found: Sequence[dict[str, Any]]) -> pa.Table:
    """Return the facts of the images that can be used."""
    return pa.Table.from_pylist([one for one in found if not one["reason"]], facts.SCHEMA)


def jpeg(image: Image.Image, draw: random.Random, lowest: int = 30) -> Image.Image:
    """Compress an image."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=draw.randint(lowest, 90))
    return Image.open(buffer).convert("RGB")


def resize(image: Image.Image, draw: random.Random) -> Image.Image:
    """Bring an image to another size, 50 to 150 % of its own."""
    share, by = draw.uniform(0.5, 1.5), draw.choice([Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
    return image.resize((round(image.width * share), round(image.height * share)), by)


def crop(image: Image.Image, draw: random.Random) -> Image.Image:
    """Keep 80 to 95 % of each side, from anywhere."""
    wide, high = (round(length * draw.uniform(0.8, 0.95)) for length in image.size)
    left, top = draw.randint(0, image.width - wide), draw.randint(0, image.height - high)
    return image.crop((left, top, left + wide, top + high))


def flip(image: Image.Image, _draw: random.Random) -> Image.Image:
    """Return the mirror image."""
    return ImageOps.mirror(image)


def brighten(image: Image.Image, draw: random.Random) -> Image.Image:
    """Brighten or darken an image by up to a fifth, and change its contrast likewise."""
    image = ImageEnhance.Brightness(image).enhance(draw.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(image).enhance(draw.uniform(0.8, 1.2))


KINDS: dict[str, tuple[Change, ...]] = {
    "jpeg": (jpeg,),
    "resize": (resize,),
    "crop": (crop,),
    "flip": (flip,),
    "brightness": (brighten,),
    "crop_resize": (crop, resize),
    "crop_flip": (crop, flip),
    "crop_flip_resize_brightness_jpeg": (crop, flip, resize, brighten, jpeg),
}

REAL = {
    "pets": (
        "Abyssinian_11 Abyssinian_177",
        "Abyssinian_122 Abyssinian_172",
        "Abyssinian_151 Abyssinian_99",
        "Abyssinian_24 Abyssinian_56",
        "Abyssinian_24 Abyssinian_80",
        "Abyssinian_40 Abyssinian_63",
        "Abyssinian_5 Abyssinian_87",
        "Abyssinian_56 Abyssinian_80",
        "Bengal_83 Bengal_85",
    ),
    "grocery": (
        "Alpro-Vanilla-Soyghurt_007 Alpro-Vanilla-Soyghurt_012",
        "Arla-Ecological-Sour-Cream_013 Arla-Ecological-Sour-Cream_015",
        "Cantaloupe_016 Cantaloupe_021",
        "Conference_004 Conference_040",
        "Floury-Potato_006 Floury-Potato_016",
        "God-Morgon-Orange-Red-Grapefruit-Juice_007 God-Morgon-Orange-Red-Grapefruit-Juice_009",
        "Kaiser_005 Kaiser_014",
        "Mango_011 Mango_012",
        "Mango_023 Mango_027",
        "Passion-Fruit_016 Passion-Fruit_026",
        "Pink-Lady_014 Pink-Lady_018",
        "Royal-Gala_052 Royal-Gala_062",
        "Yellow-Bell-Pepper_012 Yellow-Bell-Pepper_013",
        "Yellow-Onion_024 Yellow-Onion_025",
        "Yoggi-Strawberry-Yoghurt_016 Yoggi-Strawberry-Yoghurt_025",
    ),
    "steel": (
        "inclusion_125 inclusion_88",
        "inclusion_188 inclusion_210",
        "patches_101 patches_105",
        "patches_189 patches_193",
        "scratches_4 scratches_5",
    ),
}
"""Pairs of the sets as they are that a person judged, side by side, to show one scene at one time or one photograph."""


def planted(table: Sequence[Row], name: str, folder: Path, draw: random.Random) -> Iterator[tuple[str, Row, Row]]:
    """Write copies of images into another split than theirs; yield kind, original and copy."""
    chosen = draw.sample(list(table), min(len(table) // 2, EACH * (len(KINDS) + 1)))
    kinds = ["exact", *KINDS]
    for place, row in enumerate(chosen):
        kind = kinds[place % len(kinds)]
        source = Path(os.environ["THAW_DATA"]) / name / row.file
        copy = Row(f"planted/{place:04d}.jpg", draw.choice([one for one in SPLITS if one != row.split]), row.label)
        (folder / copy.file).parent.mkdir(exist_ok=True)
        if kind == "exact":
            (folder / copy.file).write_bytes(source.read_bytes())
        else:
            image = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
            for change in KINDS[kind]:
                image = change(image, draw)
            image.save(folder / copy.file, "JPEG", quality=draw.randint(60, 95))
        yield kind, row, copy


def copies(options: argparse.Namespace) -> dict[str, Any]:
    """Return, by set, recall by kind of copy and the share of images without a planted copy that are reported."""
    return {name: _copies_in(name, options) for name in options.sets}


def sampled(options: argparse.Namespace, name: str) -> tuple[list[Row], random.Random]:
    """Return the images of a set that are looked at, in their order, and what draws everything else."""
    table, draw = rows(name), random.Random(options.seed)
    if options.images and options.images < len(table):
        table = [table[place] for place in sorted(draw.sample(range(len(table)), options.images))]
    return table, draw


def _copies_in(name: str, options: argparse.Namespace) -> dict[str, Any]:
    table, draw = sampled(options, name)
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as place:
        folder = Path(place)
        made = list(planted(table, name, folder, draw))
        whole = written(name, [*table, *(copy for _, _, copy in made)], folder)
        found = measured(examined(described(name, whole)))
    begun = time.perf_counter()
    seen = groups.of(found)
    took = time.perf_counter() - begun
    of = dict(zip(found["id"].to_pylist(), seen.groups.tolist(), strict=True))
    recall = {
        kind: _share([of[original.file] == of[copy.file] for one, original, copy in made if one == kind])
        for kind in ["exact", *KINDS]
    }
    near = [one == "exact" or of[original.file] == of[copy.file] for one, original, copy in made]
    reported = _reported(found, seen, {copy.file: original.file for _, original, copy in made})
    real = {pair for pair in reported if " ".join(sorted(Path(image).stem for image in pair)) in REAL[name]}
    false = reported - real
    print(f"{name}: {recall}; real {len(real)}, false {sorted(map(sorted, false))}", file=sys.stderr)
    return {
        "images": len(table),
        "planted": len(made),
        "recall": recall,
        "recall_near": _share([hit for hit, (kind, _, _) in zip(near, made, strict=True) if kind != "exact"]),
        "false_share": round(len({image for pair in false for image in pair}) / len(table), 4),
        "real_pairs": len(real),
        "search_s": round(took, 1),
    }


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(1, len(hits)), 4)


def _reported(found: pa.Table, seen: groups.Copies, planted: Mapping[str, str]) -> set[frozenset[str]]:
    """Return which two images of a set as it is are reported to be copies, themselves or by their planted copies."""
    ids = [planted.get(one, one) for one in found["id"].to_pylist()]
    near = zip(seen.pairs.first.tolist(), seen.pairs.second.tolist(), strict=True)
    same = enumerate(seen.exact.tolist())
    return {frozenset((ids[one], ids[other])) for one, other in (*near, *same) if ids[one] != ids[other]}


def timed_groups(options: argparse.Namespace) -> dict[str, Any]:
    """Return how long, and with how much more memory at its peak, random signatures are grouped."""
    random_bytes = np.random.default_rng(options.seed).integers(0, 256, (RANDOM, signature.BYTES), dtype=np.uint8)
    table = pa.table(
        {
            "sha256": [str(place) for place in range(RANDOM)],
            "signature": [base64.b64encode(row.tobytes()).decode() for row in random_bytes],
        }
    )
    before, begun, used = _peak(), time.perf_counter(), time.process_time()
    found = groups.of(table)
    return {
        "images": RANDOM,
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "more_mib": round(_peak() - before),
        "found": len(found.members),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


FAULTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"copies": copies, "groups": timed_groups}


def main() -> None:
    """Plant what is asked for and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("faults", nargs="*", default=list(FAULTS), choices=[*FAULTS, []])
    parser.add_argument("--sets", nargs="+", default=["pets", "grocery"], choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="look at so many images of each set; at all of them when left out")
    options = parser.parse_args()
    print(json.dumps({fault: FAULTS[fault](options) for fault in options.faults}))


if __name__ == "__main__":
    main()
