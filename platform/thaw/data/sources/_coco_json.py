"""The JSON of the COCO data set, read and checked; what follows from it is not said here."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from thaw.data.files import Folder
from thaw.errors import DataError


@dataclass(frozen=True)
class File:
    """What one .json file says.

    Attributes:
        images: id, as text -> ``file_name``, ``width``, ``height`` and ``id``.
        annotations: image id, as text -> its annotations, in order.
        names: category id -> name.
    """

    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[str, Sequence[Mapping[str, Any]]]
    names: Mapping[int, str]


def load(folder: Folder, path: str) -> File:
    """Return what a file says; parsed once a process, for masks are drawn one by one.

    Raises:
        DataError: it cannot be read, or is not laid out as COCO is.
    """
    try:
        return _parsed(folder, path, *folder.stamps([path]))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: is not laid out as COCO is: {type(error).__name__} {error}") from None


@lru_cache(maxsize=8)
def _parsed(folder: Folder, path: str, _stamp: str | None) -> File:
    said = json.loads(folder.read(path).decode("utf-8-sig"))
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
    return File(images, dict(annotations), names)


def everything(file: File) -> Iterator[Mapping[str, Any]]:
    """Yield every annotation of a file."""
    for annotations in file.annotations.values():
        yield from annotations
