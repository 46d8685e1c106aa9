"""coco: boxes and masks in the JSON of the COCO data set.

One .json file, or a folder with several, such as train.json, val.json and test.json, whose names give the split.
Boxes are offered in the column ``boxes``, by name of their category: none for an image without annotations. Boxes
marked ``iscrowd`` are left out, because they surround a crowd and not one thing.

Where annotations have a ``segmentation``, the column ``mask`` offers a class for every pixel: the category of the
last annotation that covers it, and the option ``background`` where none does. An image of which an annotation lacks
its box, or its segmentation, has no label in that column.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from thaw.data import rle
from thaw.data.sources import contract
from thaw.data.sources._files import check_inside, stamps
from thaw.data.sources.contract import BadLabel, RawBoxes, RawMask, Reference, SourceOptions, Thing, as_text, split_in
from thaw.errors import DataError
from thaw.metrics.masks import IGNORED

BOXES, MASK = "boxes", "mask"
_MOST = 254  # categories that fit into a mask beside the background and pixels without a label
_FAR = 1e9  # pixels from the corner of an image: differences of numbers without a bound are not numbers any more


class Options(SourceOptions):
    """Files in COCO's JSON."""

    type: Literal["coco"]
    path: str
    """A .json file, or a folder with such files at its top, on a disk that every node reaches."""
    images: str = "."
    """Folder of the images, relative to the folder of the .json files."""
    background: str | None = "background"
    """Class of pixels that no annotation covers; null leaves them without a label."""


@dataclass(frozen=True)
class _File:
    """What one .json file says.

    Attributes:
        images: id, as text -> ``file_name``, ``width``, ``height`` and ``id``.
        annotations: image id, as text -> its annotations, in order.
        names: category id -> name.
    """

    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[str, Sequence[Mapping[str, Any]]]
    names: Mapping[int, str]


class Source(contract.Source):
    """The images that the files name."""

    options: Options

    def references(self) -> Iterator[Reference]:
        files = {path: _load(path) for path in self._paths()}
        drawn = any(one.get("segmentation") for file in files.values() for one in _all(file))
        values = self._values(files.values()) if drawn else {}
        empty = True
        for path, file in files.items():
            for number, image in file.images.items():
                empty = False
                annotations = file.annotations.get(number, ())
                labels: dict[str, Any] = {BOXES: _boxes(annotations, file.names, path.name)}
                if drawn:
                    whole = all(one.get("segmentation") for one in annotations)
                    labels[MASK] = RawMask(f"{path.name}:{number}", values) if whole else None
                name = check_inside(image["file_name"], path.name)
                yield Reference(as_text(name), labels, split_in(path.stem))
        if empty:
            raise DataError(f"data.source.path: {self.options.path} names no image")

    def open(self, image_id: str) -> BinaryIO:
        return (self._folder() / self.options.images / image_id).open("rb")

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:
        if of == "image":
            return stamps(self._folder() / self.options.images, ids)
        files = {path.name: _load(path) for path in self._paths()} if ids else {}
        return [_drawn_from(files, mask_id) for mask_id in ids]

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        name, _, number = mask_id.rpartition(":")
        files = {path.name: _load(path) for path in self._paths()}
        image = files[name].images.get(number) if name in files else None
        if image is None:
            raise FileNotFoundError(2, "the file does not name this image any more", mask_id)
        if (image.get("width"), image.get("height")) != (width, height):
            said = f"{image.get('width')} x {image.get('height')}"
            raise BadLabel("mask_size", f"{name} says {said} pixels of {image['file_name']}; it has {width} x {height}")
        value = {word: value for value, word in self._values(files.values()).items() if value}
        mask = np.full((height, width), IGNORED if self.options.background is None else 0, dtype=np.uint8)
        for one in files[name].annotations.get(number, ()):
            covered = _covered(one["segmentation"], width, height, f"{name}: annotation {one.get('id')}")
            mask[covered] = value[files[name].names[one["category_id"]]]
        return mask

    def _values(self, files: Iterable[_File]) -> dict[int, str]:
        """Return what the values of masks mean: the background is 0, and categories count from 1, by name."""
        names = sorted({name for file in files for name in file.names.values()})
        if len(names) > _MOST:
            raise DataError(f"data.source.path: {len(names)} categories; masks can hold {_MOST}")
        background = {0: self.options.background} if self.options.background is not None else {}
        return {**background, **dict(enumerate(names, start=1))}

    def _folder(self) -> Path:
        path = Path(self.options.path)
        return path if path.is_dir() else path.parent

    def _paths(self) -> list[Path]:
        path = Path(self.options.path)
        found = [path] if path.is_file() else sorted(path.glob("*.json")) if path.is_dir() else []
        files = [file for file in found if not file.name.startswith(".")]
        if not files:
            raise DataError(f"data.source.path: {path} is neither a .json file nor a folder with one")
        return files


def _drawn_from(files: Mapping[str, _File], mask_id: str) -> str | None:
    """Return a hash of what a mask is drawn from: of the file, most of which is of other images, only that."""
    name, _, number = mask_id.rpartition(":")
    if name not in files or number not in files[name].images:
        return None
    file = files[name]
    annotations = file.annotations.get(number, ())
    named = [file.names[one["category_id"]] for one in annotations]
    return hashlib.sha256(json.dumps([file.images[number], annotations, named]).encode()).hexdigest()


def _load(path: Path) -> _File:
    """Return what a file says; parsed once a process, for masks are drawn one by one."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path.name}: cannot be read as JSON: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path.name}: is not laid out as COCO is: {type(error).__name__} {error}") from None


@lru_cache(maxsize=8)
def _parsed(path: Path, _changed: int) -> _File:
    said = json.loads(path.read_text(encoding="utf-8-sig"))
    names = {int(one["id"]): str(one["name"]) for one in said["categories"]}
    images = {str(image["id"]): image for image in said["images"]}
    annotations = defaultdict(list)
    for one in said.get("annotations", ()):
        if one["category_id"] not in names:
            raise ValueError(f"annotation {one.get('id')} is of category {one['category_id']}, which is not listed")
        if str(one["image_id"]) not in images:
            raise ValueError(f"annotation {one.get('id')} is of image {one['image_id']!r}, which is not listed")
        annotations[str(one["image_id"])].append(one)
    if len(images) != len(said["images"]):
        raise ValueError("two images have the same id")
    for image in images.values():
        if not isinstance(image["file_name"], str):
            raise TypeError(f"image {image['id']} has no file_name")
    return _File(images, dict(annotations), names)


def _all(file: _File) -> Iterator[Mapping[str, Any]]:
    for annotations in file.annotations.values():
        yield from annotations


def _boxes(annotations: Sequence[Mapping[str, Any]], names: Mapping[int, str], place: str) -> RawBoxes | None:
    """Return the boxes of one image, or None where one of its annotations has none."""
    singles = [one for one in annotations if not one.get("iscrowd")]
    if not all(one.get("bbox") for one in singles):
        return None
    return RawBoxes(tuple(_edges(one, place) for one in singles), tuple(names[one["category_id"]] for one in singles))


def _edges(annotation: Mapping[str, Any], place: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (TypeError, ValueError):
        where = f"{place}: annotation {annotation.get('id')}"
        raise DataError(f"{where}: bbox is {annotation['bbox']!r}, not four numbers x, y, width, height") from None
    return x, y, x + width, y + height


def _covered(segmentation: Any, width: int, height: int, place: str) -> NDArray[np.bool_]:
    """Return the (height, width) pixels of one thing: polygons, or run lengths with or without compression."""
    try:
        if isinstance(segmentation, list):
            return _filled(segmentation, width, height)
        counts, size = segmentation["counts"], tuple(segmentation["size"])
        if size != (height, width):
            raise BadLabel("mask_size", f"{place} has run lengths for {size}; its image has {(height, width)}")
        if isinstance(counts, str):
            return rle.decode(rle.Rle(size=size, counts=counts))
        return rle.from_runs(counts, size)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise BadLabel("mask_unreadable", f"{place}: segmentation cannot be drawn: {error}") from None


def _filled(polygons: Sequence[Sequence[float]], width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels whose middle lies in a polygon of x, y, x, y, ... in pixels from the left upper corner.

    Pillow's polygons take in the pixels of their outline too, half a pixel more on every side.
    """
    covered = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        if len(corners) < 3 or not (np.abs(corners) <= _FAR).all():
            raise ValueError(f"a polygon needs three corners or more, none further off than {_FAR:g} pixels")
        left, top = _pixel(corners.min(axis=0), width, height)
        right, bottom = _pixel(corners.max(axis=0) + 1, width, height)
        covered[top:bottom, left:right] |= _inside(corners - [left, top], right - left, bottom - top)
    return covered


def _pixel(corner: NDArray[np.float64], width: int, height: int) -> tuple[int, int]:
    """Return the column and row of the pixel that a point lies in, or of the nearest one at the edge of the image."""
    x, y = np.clip(np.floor(corner), 0, [width, height]).astype(int).tolist()
    return x, y


def _inside(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels of a window from the origin with an odd number of edges to the left of their middle."""
    middles = np.arange(height) + 0.5
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    edge, row = np.nonzero((y0[:, None] <= middles) != (y1[:, None] <= middles))
    x = x0[edge] + (middles[row] - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    toggles = np.zeros((height, width + 1), dtype=np.int32)
    np.add.at(toggles, (row, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    return np.asarray(toggles[:, :width].cumsum(axis=1) % 2 == 1)
