"""masks: a folder of images and a folder of masks with the same names, with or without train, val and test folders.

``images/a.jpg`` and ``masks/a.png``, or ``images/train/a.jpg`` and ``masks/train/a.png``. A mask is a picture of one
value a pixel, grey or palette, of its image's size; the option ``names`` says what the values mean. It is offered in
the column ``mask``; an image without a mask has no label.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thaw.data.files import Folder, is_picture, open_folder
from thaw.data.sources import _mask_values, contract
from thaw.data.sources._mask_picture import read_mask
from thaw.data.sources._paths import split_of
from thaw.data.sources.contract import RawMask, Recognised, Reference, SourceOptions, Thing, as_text
from thaw.errors import DataError

COLUMN = "mask"
_LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif")
_NAMED = re.compile(r"mask|label|seg|annot|truth|\bgt\b|trimap", re.I)
"""What folders of masks are called."""


class Options(SourceOptions):
    """A folder of images beside a folder of masks."""

    type: Literal["masks"]
    path: str
    """The folder that holds both, on a disk that every node reaches, or s3:// or gs://."""
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
        images, masks = (self._folder.check(name) for name in (self.options.images, self.options.masks))
        found = {_stem(file, masks): file for file in self._folder.below(masks)}
        empty = True
        for file in self._folder.below(images):
            empty = False
            mask = found.get(_stem(file, images))
            label = RawMask(as_text(mask), self.options.names) if mask else None
            yield Reference(as_text(file), {COLUMN: label}, split_of(file, images))
        if empty:
            raise DataError(f"data.source.path: {self._folder.shown(images)} holds no image")

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._folder.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return self._folder.stamps(ids)

    def mask(self, mask_id: str, width: int, height: int) -> NDArray[np.uint8]:
        return read_mask(self._folder, mask_id, (width, height))

    @cached_property
    def _folder(self) -> Folder:
        return open_folder(self.options.path)


def _stem(file: str, folder: str) -> str:
    """Return what a file and its mask have in common: the way from their folders, without the ending."""
    return PurePosixPath(file).relative_to(folder).with_suffix("").as_posix()


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for a folder of images and one of files with the same names that is called like masks.

    Raises:
        DataError: no mask can be read, or they hold too many values to be classes.
    """
    stems = {name: _stems(folder, name) for name in folder.folders()}
    pairs = [
        (len(set(stems[images]) & set(stems[masks])), images, masks)
        for images in stems
        for masks in stems
        if images != masks and _NAMED.search(masks) and not _NAMED.search(images)
    ]
    both, images, masks = max(pairs, default=(0, "", ""))
    if not both or both < len(stems[images]) / 2 or not all(file.endswith(_LOSSLESS) for file in stems[masks].values()):
        return None
    values = _mask_values.guess(folder, [stems[masks][stem] for stem in sorted(set(stems[images]) & set(stems[masks]))])
    without = len(stems[images]) - both
    return Recognised(
        confidence=0.8,
        seen=f"{len(stems[images])} images in {images}/ and their masks in {masks}/",
        options={"images": images, "masks": masks, "names": dict(values.names)},
        assumed=values.assumed,
        unsure=(
            *values.unsure,
            *([f"images without a mask carry no label: {without} of {len(stems[images])}"] if without else ()),
        ),
    )


def _stems(folder: Folder, name: str) -> dict[str, str]:
    """Return the pictures of a folder by what they would have in common with their masks."""
    return {_stem(file, name): file for file in folder.below(name) if is_picture(file)}
