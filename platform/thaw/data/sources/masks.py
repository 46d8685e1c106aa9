"""masks: a folder of images and a folder of masks with the same names, with or without train, val and test folders.

``images/a.jpg`` and ``masks/a.png``, or ``images/train/a.jpg`` and ``masks/train/a.png``. A mask is a picture of one
value a pixel, grey or palette, of its image's size; the option ``names`` says what the values mean. It is offered in
the column ``mask``; an image without a mask has no label.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thaw.data.sources import contract
from thaw.data.sources._files import below, check_folder, read_mask, split_of, stamps
from thaw.data.sources.contract import RawMask, Reference, SourceOptions, Thing, as_text
from thaw.errors import DataError

COLUMN = "mask"


class Options(SourceOptions):
    """A folder of images beside a folder of masks."""

    type: Literal["masks"]
    path: str
    """The folder that holds both, on a disk that every node reaches."""
    images: str = "images"
    """Folder of the images, relative to the path."""
    masks: str = "masks"
    """Folder of the masks, relative to the path."""
    names: Annotated[dict[Annotated[int, Field(ge=0, le=255)], str], Field(min_length=1)]
    """What the values of pixels mean, such as {0: background, 1: scratch}; 255 has no label unless it is named."""


class Source(contract.Source):
    """Every file below the folder of images; what is no image is set aside when it is prepared."""

    options: Options

    def references(self) -> Iterator[Reference]:
        images, masks = (check_folder(self._root() / name) for name in (self.options.images, self.options.masks))
        found = {file.relative_to(masks).with_suffix(""): file for file in below(masks)}
        empty = True
        for file in below(images):
            empty = False
            mask = found.get(file.relative_to(images).with_suffix(""))
            label = RawMask(self._id(mask), self.options.names) if mask else None
            yield Reference(self._id(file), {COLUMN: label}, split_of(file, images))
        if empty:
            raise DataError(f"data.source.path: {images} holds no image")

    def open(self, image_id: str) -> BinaryIO:
        return (self._root() / image_id).open("rb")

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return stamps(self._root(), ids)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        return read_mask(self._root() / mask_id, width, height)

    def _root(self) -> Path:
        return Path(self.options.path)

    def _id(self, file: Path) -> str:
        return as_text(file.relative_to(self._root()).as_posix())
