"""coco: boxes and masks in the JSON of the COCO data set.

One .json file, or a folder with several, such as train.json, val.json and test.json, whose names give the split; or
several that the option ``images`` names with the folder of images of each, as in the data set itself:
``{annotations/instances_train2017.json: train2017, annotations/instances_val2017.json: val2017}``.
Boxes are offered in the column ``boxes``, by name of their category: none for an image without annotations. Boxes
marked ``iscrowd`` are left out, because they surround a crowd and not one thing.

Where annotations have a ``segmentation``, the column ``mask`` offers a class for every pixel: the category of the
last annotation that covers it, and the option ``background`` where none does. An image of which an annotation lacks
its box, or its segmentation, has no label in that column.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thaw.data import rle
from thaw.data.files import Folder, located
from thaw.data.sources import _coco_guess, contract
from thaw.data.sources._coco_json import File, everything, load
from thaw.data.sources._paths import check_inside
from thaw.data.sources.contract import (
    BadLabel,
    RawBoxes,
    RawMask,
    Recognised,
    Reference,
    SourceOptions,
    Thing,
    as_text,
    split_in,
)
from thaw.errors import DataError
from thaw.metrics.masks import IGNORED

BOXES, MASK = "boxes", "mask"
_MOST = 254  # categories that fit into a mask beside the background and pixels without a label
_FAR = 1e9  # pixels from the corner of an image: differences of numbers without a bound are not numbers any more


class Options(SourceOptions):
    """Files in COCO's JSON."""

    type: Literal["coco"]
    path: str
    """A .json file, or a folder with such files at its top, on a disk that every node reaches, or s3:// or gs://."""
    images: str | dict[str, str] = "."
    """Folder of the images, relative to the folder of the .json files. Or .json files with the folder of images of
    each, all of them relative to the path; other .json files are then left alone."""
    background: str | None = "background"
    """Class of pixels that no annotation covers; null leaves them without a label."""


class Source(contract.Source):
    """The images that the files name."""

    options: Options

    def references(self) -> Iterator[Reference]:
        drawn = any(one.get("segmentation") for file in self._files.values() for one in everything(file))
        values = self._values() if drawn else {}
        empty = True
        for path, file in self._files.items():
            images, split = self._images_of(path), self._split_of(path)
            for number, image in file.images.items():
                empty = False
                annotations = file.annotations.get(number, ())
                labels: dict[str, Any] = {BOXES: _boxes(annotations, file.names, path)}
                if drawn:
                    whole = all(one.get("segmentation") for one in annotations)
                    labels[MASK] = RawMask(f"{path}:{number}", values) if whole else None
                name = check_inside(image["file_name"], path)
                yield Reference(as_text((PurePosixPath(images) / name).as_posix()), labels, split)
        if empty:
            raise DataError(f"data.source.path: {self._place} names no image")

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._images.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:
        if of == "image":
            return self._images.stamps(ids)
        return [_drawn_from(self._files, mask_id) for mask_id in ids]

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        name, _, number = mask_id.rpartition(":")
        file = self._files.get(name)
        image = file.images.get(number) if file else None
        if file is None or image is None:
            raise FileNotFoundError(2, "the file does not name this image any more", mask_id)
        if (image.get("width"), image.get("height")) != (width, height):
            said = f"{image.get('width')} x {image.get('height')}"
            raise BadLabel("mask_size", f"{name} says {said} pixels of {image['file_name']}; it has {width} x {height}")
        value = {word: value for value, word in self._values().items() if value}
        mask = np.full((height, width), IGNORED if self.options.background is None else 0, dtype=np.uint8)
        for one in file.annotations.get(number, ()):
            covered = _covered(one["segmentation"], width, height, f"{name}: annotation {one.get('id')}")
            mask[covered] = value[file.names[one["category_id"]]]
        return mask

    def _values(self) -> dict[int, str]:
        """Return what the values of masks mean: the background is 0, and categories count from 1, by name."""
        names = sorted({name for file in self._files.values() for name in file.names.values()})
        if len(names) > _MOST:
            raise DataError(f"data.source.path: {len(names)} categories; masks can hold {_MOST}")
        background = {0: self.options.background} if self.options.background is not None else {}
        return {**background, **dict(enumerate(names, start=1))}

    @cached_property
    def _located(self) -> tuple[Folder, str]:
        return located(self.options.path)

    @property
    def _place(self) -> str:
        folder, name = self._located
        return folder.shown(name)

    @cached_property
    def _images(self) -> Folder:
        """The folder that ids are relative to."""
        folder, images = self._located[0], self.options.images
        return folder.at(images) if isinstance(images, str) else folder

    def _images_of(self, path: str) -> str:
        images = self.options.images
        return "" if isinstance(images, str) else check_inside(images[path], "data.source.images")

    def _split_of(self, path: str) -> str | None:
        """Return the split that the name of a file says, or else that of its folder, or of its images'."""
        whole = PurePosixPath(path)
        words = (whole.stem, whole.parent.name, PurePosixPath(self._images_of(path)).name)
        return next((split for word in words if (split := split_in(word))), None)

    @cached_property
    def _files(self) -> dict[str, File]:
        """What each file says, by its path from the folder on."""
        (folder, name), images = self._located, self.options.images
        found = [name] if name else [one for one in folder.names() if one.endswith(".json")]
        if isinstance(images, dict):
            found = [check_inside(one, "data.source.images") for one in images]
        if not found:
            raise DataError(f"data.source.path: {self._place} is neither a .json file nor a folder with one")
        return {path: load(folder, path) for path in found}


def _drawn_from(files: Mapping[str, File], mask_id: str) -> str | None:
    """Return a hash of what a mask is drawn from: of the file, most of which is of other images, only that."""
    name, _, number = mask_id.rpartition(":")
    if name not in files or number not in files[name].images:
        return None
    file = files[name]
    annotations = file.annotations.get(number, ())
    named = [file.names[one["category_id"]] for one in annotations]
    return hashlib.sha256(json.dumps([file.images[number], annotations, named]).encode()).hexdigest()


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


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for .json files at the top, or one folder below, that name images and what is in them.

    Raises:
        DataError: there are such files, and their images are not in the folder.
    """
    return _coco_guess.recognise(folder)
