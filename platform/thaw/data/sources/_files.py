"""Files as several sources find them: what is hidden, what leaves a folder, and masks that are pictures.

Nothing of it knows a format's layout.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from thaw.config.experiment import Limits
from thaw.data.sources.contract import BadLabel, given_split
from thaw.errors import DataError

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # that lose nothing, and whose openers start no other program
_LIMITS = Limits()  # a mask's size is its image's, which has been held against the user's own


def below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder that is not hidden, by name."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file


def stamp(path: Path) -> str | None:
    """Return what changes when a file does: its size, and when its content and its entry were last changed."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def stamps(folder: Path, names: Iterable[str]) -> list[str | None]:
    """Return the stamps of files by their names relative to a folder."""
    return [stamp(folder / name) for name in names]


def split_of(file: Path, folder: Path) -> str | None:
    """Return the split that the first folder on the way from ``folder`` to a file is named for, if so."""
    parts = file.relative_to(folder).parts
    return given_split(parts[0]) if len(parts) > 1 else None


def check_inside(name: str, place: str) -> str:
    """Return a relative path as it is.

    Raises:
        DataError: it leaves the folder that it is relative to.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{place}: {name!r} leaves the folder of the images; paths must be relative to it")
    return name


def check_folder(folder: Path, setting: str = "path") -> Path:
    """Return a folder as it is.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"data.source.{setting}: {folder} is not a folder that this node can read")
    return folder


def read_mask(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Return the (height, width) values of a mask that is a picture: grey levels, or places in its palette.

    The size is judged from the header, before any pixel is read; so are the bounds of `Limits` on bytes and pixels.

    Raises:
        OSError: it cannot be read.
        BadLabel: it is no picture of one value of at most 255 a pixel, or is of another size.
    """
    content = _content(path)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.size == (width, height):
                _check_tile(image, path.name)
                return _values(image)
            wide, high = image.size
    except (BadLabel, MemoryError):
        raise
    except Exception as error:  # Pillow documents no closed set of exceptions; see thaw.data.quality
        raise BadLabel("mask_unreadable", f"{path.name} is not a picture that can be read") from error
    raise BadLabel("mask_size", f"{path.name} has {wide} x {high} pixels, its image {width} x {height}")


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(_LIMITS.max_bytes + 1)
    if len(content) > _LIMITS.max_bytes:
        raise BadLabel("mask_unreadable", f"{path.name} has more than the {_LIMITS.max_bytes:,} bytes that are allowed")
    return content


def _check_tile(image: Image.Image, name: str) -> None:
    """Refuse a TIFF whose tile is far larger than its picture: it would be decompressed whole."""
    if not isinstance(image, TiffImageFile) or TILEWIDTH not in image.tag_v2:
        return
    width, height = image.tag_v2[TILEWIDTH], image.tag_v2[TILELENGTH]
    if width * height > _LIMITS.max_pixels:
        detail = f"{name} declares a tile of {width} x {height} pixels; at most {_LIMITS.max_pixels:,} are decoded"
        raise BadLabel("mask_unreadable", detail)


def _values(image: Image.Image) -> NDArray[np.uint8]:
    values = np.array(image)
    if values.ndim != 2:
        detail = f"the mask is a picture in {image.mode}; one value a pixel is needed, grey or palette"
        raise BadLabel("mask_unreadable", detail)
    if values.dtype.kind not in "bui" or values.min() < 0 or values.max() > 255:
        raise BadLabel("mask_unreadable", "the mask holds values that are not whole numbers from 0 to 255")
    return values.astype(np.uint8)
