"""Layouts: little folders as people have them, one function each; what they hold is drawn, not random."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 32


def png(shade: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """Return a coloured picture."""
    return encoded(np.full((size[1], size[0], 3), (shade * 7 % 256, 90, 200 - shade), dtype=np.uint8))


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask(*values: int, background: int = 0) -> bytes:
    """Return a mask with a square of each value on a background."""
    pixels = np.full((HEIGHT, WIDTH), background, dtype=np.uint8)
    for place, value in enumerate(values):
        pixels[4:12, 4 + 9 * place : 12 + 9 * place] = value
    return encoded(pixels)


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by path, and return their folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def pictures(folder: str, count: int, start: int = 0) -> dict[str, bytes]:
    """Return pictures by path."""
    return {f"{folder}/{place:03d}.png".lstrip("/"): png(place) for place in range(start, start + count)}


def csv(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def lines(*rows: Mapping[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def coco(names: list[str], segmented: bool = False) -> str:
    """Return COCO's JSON with a box in every image."""
    images = [{"id": at, "file_name": name, "width": WIDTH, "height": HEIGHT} for at, name in enumerate(names)]
    outline = {"segmentation": [[2, 2, 20, 2, 20, 20, 2, 20]]} if segmented else {}
    boxes = [
        {"id": at, "image_id": at, "category_id": 1 + at % 2, "bbox": [2, 2, 18, 18], **outline}
        for at in range(len(names))
    ]
    return json.dumps(
        {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    )


def voc(name: str, *box: int) -> str:
    edges = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<annotation><object><name>{name}</name><bndbox>{edges}</bndbox></object></annotation>"


def _sets(count: int = 24) -> dict[str, dict[str, str | bytes]]:
    names = [f"{place:03d}.png" for place in range(count)]
    in_images = {f"images/{name}": png(place) for place, name in enumerate(names)}
    kinds = ["nut", "bolt"] * (count // 2)
    rows = [
        {
            "file_name": f"images/{name}",
            "kind": kind,
            "parts": {"bbox": [[2, 2, 18, 18]], "categories": [kind]},
            "mask_file_name": f"masks/{name}",
        }
        for name, kind in zip(names, kinds, strict=True)
    ]
    masks = {f"masks/{name}": mask(1 + (kind == "bolt")) for name, kind in zip(names, kinds, strict=True)}
    texts = {f"labels/{place:03d}.txt": f"{place % 2} 0.5 0.5 0.4 0.4\n" for place in range(count)}
    return {
        "folder": {f"{kind}/{name}": png(place) for place, (name, kind) in enumerate(zip(names, kinds, strict=True))},
        "table": {"metadata.jsonl": lines(*rows), **masks, **in_images},
        "coco": {"annotations.json": coco([f"images/{name}" for name in names], segmented=True), **in_images},
        "voc": {
            **{f"JPEGImages/{name}": png(place) for place, name in enumerate(names)},
            **{f"Annotations/{place:03d}.xml": voc(kinds[place], 2, 2, 20, 20) for place in range(count)},
        },
        "yolo": {"data.yaml": "names: [nut, bolt]\ntrain: images\n", **in_images, **texts},
        "masks": {**masks, **in_images},
    }


SETS = _sets()
"""A little data set in every format that can be recognised, of images enough to be divided: path -> content."""
