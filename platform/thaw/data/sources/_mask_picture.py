"""Masks that are pictures of one value a pixel: grey levels, or places in a palette."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from thaw.config.experiment import Limits
from thaw.data.files import Folder
from thaw.data.sources.contract import BadLabel

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # that lose nothing, and whose openers start no other program
_LIMITS = Limits()  # a mask's size is its image's, which has been held against the user's own


def read_mask(folder: Folder, path: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return the (height, width) values of a mask.

    The size is judged from the header, before any pixel is read; so are the bounds of `Limits` on bytes and pixels.

    Args:
        size: width and height that it must have; left out: any.

    Raises:
        OSError: it cannot be read.
        BadLabel: it is no picture of one value of at most 255 a pixel, or is of another size.
    """
    content, name = _content(folder, path), path.rpartition("/")[2]
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if size in (None, image.size):
                _check_size(image, name)
                return _values(image)
            wide, high = image.size
    except (BadLabel, MemoryError):
        raise
    except Exception as error:  # Pillow documents no closed set of exceptions; see thaw.data.quality
        raise BadLabel("mask_unreadable", f"{name} is not a picture that can be read") from error
    width, height = size or (0, 0)
    raise BadLabel("mask_size", f"{name} has {wide} x {high} pixels, its image {width} x {height}")


def _content(folder: Folder, path: str) -> bytes:
    content = folder.read(path, _LIMITS.max_bytes + 1)
    if len(content) > _LIMITS.max_bytes:
        name = path.rpartition("/")[2]
        raise BadLabel("mask_unreadable", f"{name} has more than the {_LIMITS.max_bytes:,} bytes that are allowed")
    return content


def _check_size(image: Image.Image, name: str) -> None:
    """Refuse what takes too much memory. A TIFF's tile may be far larger than its picture, and is read whole."""
    sizes = {"": image.size}
    if isinstance(image, TiffImageFile) and TILEWIDTH in image.tag_v2:
        sizes["a tile of "] = (image.tag_v2[TILEWIDTH], image.tag_v2[TILELENGTH])
    for what, (width, height) in sizes.items():
        if width * height > _LIMITS.max_pixels:
            detail = f"{name} declares {what}{width} x {height} pixels; at most {_LIMITS.max_pixels:,} are decoded"
            raise BadLabel("mask_unreadable", detail)


def _values(image: Image.Image) -> NDArray[np.uint8]:
    values = np.array(image)
    if values.ndim != 2:
        detail = f"the mask is a picture in {image.mode}; one value a pixel is needed, grey or palette"
        raise BadLabel("mask_unreadable", detail)
    if values.dtype.kind not in "bui" or values.min() < 0 or values.max() > 255:
        raise BadLabel("mask_unreadable", "the mask holds values that are not whole numbers from 0 to 255")
    return values.astype(np.uint8)
