"""What every data source offers: the images it knows of, and the bytes of each.

Listing opens no image: a source names its images and their raw labels on the driver, and their bytes are
read where they are needed, on any node. Labels that lie in files of their own, or must be drawn, are not opened
either: a reference only says where they are (`UnreadBoxes`, `RawMask`), and `Source.boxes` and `Source.mask` read
them on the node that has just decoded the image, with its size. Both are in pixels of the upright image, as
`quality.decode` gives it. Decoding, checking and label indices are not a source's business.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thaw.config.parts import Part


class BadLabel(Exception):  # noqa: N818 - as BadImage: what came, not what to make of it
    """Boxes or a mask that cannot be used; the image may still be good for other tasks.

    Attributes:
        reason: a short code that stays the same between versions, to count and to test by.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class RawBoxes:
    """Named boxes of one image as the source gives them, whether they can be used or not.

    Attributes:
        boxes: x0, y0, x1, y1 each, in pixels of the upright image.
        names: one class name a box.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class UnreadBoxes:
    """Boxes that are not known before something is opened; `Source.boxes` reads them, where they are needed.

    Attributes:
        id: what the source knows them by, such as the path of a file relative to its root.
    """

    id: str


@dataclass(frozen=True)
class RawMask:
    """Where the mask of one image is; its pixels are read by `Source.mask`, where they are needed.

    Attributes:
        id: what the source knows it by, such as a path relative to its root.
        names: pixel value -> class name. Values that it leaves out have no label if they are 255, and are unknown
            otherwise.
    """

    id: str
    names: Mapping[int, str]


RawLabel = str | tuple[str, ...] | RawBoxes | UnreadBoxes | RawMask | None
"""A class name, a set of class names, boxes, a mask, or None where the image has no label."""


@dataclass(frozen=True)
class Reference:
    """One image that a source knows of, before anything is opened.

    Attributes:
        id: stable and unique in the source, such as the path relative to its root.
        labels: raw labels by column name.
        split: train, val or test where the source says so, else None.
        group: images of one group never fall into different splits; None stands alone.
    """

    id: str
    labels: Mapping[str, RawLabel]
    split: str | None = None
    group: str | None = None


Thing = Literal["image", "boxes", "mask"]
"""What an id is of: `Reference.id`, `UnreadBoxes.id` or `RawMask.id`."""


@dataclass(frozen=True)
class Recognised:
    """What a source takes a folder for that nobody has described.

    A source that lies in files offers ``recognise(folder: Folder) -> Recognised | None`` beside its `Source`: None
    where the folder is nothing to it. It raises a DataError where the folder is in its format and cannot be read.

    Attributes:
        confidence: how sure it is, in (0, 1]; of several sources the surest is believed.
        seen: what was found, in a few words.
        options: those of the source that differ from its defaults, but for ``path``.
        path: where the source's ``path`` leads, from the folder on; empty: to the folder itself.
        assumed: what was chosen where the folder leaves a choice, a sentence each.
        unsure: what a person should look at, a sentence each.
    """

    confidence: float
    seen: str
    options: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    assumed: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


class SourceOptions(Part):
    """What a user says about where the images come from; each source adds its own fields."""


class Source(ABC):
    """A place images come from. Built from plain options wherever it is needed, so it holds no open handles."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def references(self) -> Iterator[Reference]:
        """Yield every image of the source, in a stable order.

        Raises:
            DataError: the place does not exist, holds no image, or its table cannot be read.
        """

    @abstractmethod
    def read(self, image_id: str, most: int = -1) -> bytes:
        """Return the encoded bytes of one image, or the first ``most`` of them.

        Raises:
            OSError: they cannot be read; the caller sets this image aside.
            StorageError: the store that holds them does not answer, which says nothing about the image.
        """

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - for those that can tell
        """Return for each id a text that is another one once what lies behind it is; found without reading that.

        None where it cannot be told, or where nothing is there: it is then examined in every preparation. All in one
        go, because a store may answer for many in less time than for each.
        """
        return [None] * len(ids)

    def boxes(self, boxes_id: str, width: int, height: int) -> RawBoxes:  # noqa: ARG002 - for those that have some
        """Return the boxes of one image of ``width`` x ``height`` pixels, for an id in `UnreadBoxes`.

        Raises:
            OSError: they cannot be read; the caller sets them aside.
            BadLabel: what was read are no boxes; the caller sets them aside.
        """
        raise FileNotFoundError(2, "this source has no boxes", boxes_id)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:  # noqa: ARG002 - as above
        """Return the (height, width) pixel values of the mask of one image of this size, for an id in `RawMask`.

        Masks are never turned: one that lies in a file must be upright as stored, whatever its EXIF says.

        Raises:
            OSError: it cannot be read; the caller sets it aside.
            BadLabel: it is no picture of one value a pixel, or is of another size; the caller sets it aside.
        """
        raise FileNotFoundError(2, "this source has no masks", mask_id)


_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)


def as_text(name: str) -> str:
    """Return a file's name as text that can be kept; one that is no valid text is escaped.

    No file has the escaped name, so reading it fails and this image alone is set aside.
    """
    return name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def given_split(word: str) -> str | None:
    """Return train, val or test for the words that data sets use for them, else None."""
    return _SPLITS.get(word.lower())


def split_in(name: str) -> str | None:
    """Return the split that a word in a name says, as in instances_val2017, else None."""
    found = (given_split(word) for word in re.findall(r"[a-z]+", name.lower()))
    return next((split for split in found if split), None)
