"""What every data source offers: the images it knows of, and the bytes of each.

Listing opens no image: a source names its images and their raw labels on the driver, and their bytes are
read where they are needed, on any node. Decoding, checking and label indices are not a source's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from thaw.config.parts import Part

RawLabel = str | tuple[str, ...] | None
"""A class name, a set of class names, or None where the image has no label."""


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
    def open(self, image_id: str) -> BinaryIO:
        """Return a stream of the encoded bytes of one image.

        Raises:
            OSError: it cannot be read; the caller sets this image aside.
        """

    def read(self, image_id: str, most: int = -1) -> bytes:
        """Return the encoded bytes of one image, or the first ``most`` of them.

        Raises:
            OSError: they cannot be read; the caller sets this image aside.
        """
        with self.open(image_id) as stream:
            return stream.read(most)


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
