"""Quality: bytes -> pixels, or the reason why not. The one decoder of training, evaluation and serving.

Colour and orientation only, at the size the file has: bringing an image to model size is Preprocess.
What becomes of a bad image is the caller's choice: set it aside and report it, or answer HTTP 4xx.
"""

import io
import re
import threading
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from thaw.config.experiment import Limits

# JPEG's opener also gives MPO, the stereo JPEG of phones. Naming the classes loads these plugins alone:
# those that start other programs (EPS runs Ghostscript) are never asked.
_FORMATS = tuple(
    kind.format for kind in (JpegImageFile, PngImageFile, GifImageFile, WebPImageFile, BmpImageFile, TiffImageFile)
)


class BadImage(Exception):  # noqa: N818 - it names what came; what to make of it is the caller's choice
    """Bytes that cannot become pixels.

    Attributes:
        reason: a short code that stays the same between versions, to count and to test by.
        detail: one sentence for a person; Pillow's own words stay in ``__cause__``, because they may
            quote addresses of objects.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def decode(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Return the picture as (H, W, 3) uint8 RGB, upright, its first frame if it moves, over white.

    The format is read from the content, never from a name. Grey of 16 bits is scaled to 8, not clipped;
    float grey counts as [0, 1] if every value lies there, else as [0, 255]. Safe to call from many threads.

    Raises:
        BadImage: the bytes are no picture that is understood, a broken one, or one beyond ``limits``;
            size is judged from the header, before any pixel is decoded.
        MemoryError: this machine ran out of memory, which says nothing about the picture.
    """
    if not data:
        raise BadImage("empty", "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise BadImage("too_large", f"the file has more than the {limits.max_bytes:,} bytes that are allowed")
    _hush_pillow()
    try:
        return _decode(data, limits)
    except (BadImage, MemoryError):
        raise
    # Pillow documents no closed set of exceptions: which of OSError, ValueError, SyntaxError, struct.error,
    # IndexError, TypeError and more come of broken bytes depends on its version and plugin.
    except Exception as error:
        raise _explain(error, data) from error


def _decode(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        for width, height in _declared_sizes(image):
            _check_size(width, height, limits.max_pixels)
        if isinstance(image, JpegImageFile):
            _check_scans(data)
        image.load()
        _turn_upright(image)
        return _rgb(image)


def _declared_sizes(image: Image.Image) -> list[tuple[int, int]]:
    """Return (width, height) of all that decoding holds at once, by the header alone.

    A TIFF's tile may be far larger than its picture, and is decompressed whole.
    """
    if isinstance(image, TiffImageFile) and TILEWIDTH in image.tag_v2:
        return [image.size, (image.tag_v2[TILEWIDTH], image.tag_v2[TILELENGTH])]
    return [image.size]


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        detail = f"the file declares {width} x {height} pixels; at most {max_pixels:,} are decoded"
        raise BadImage("too_many_pixels", detail)


def format_of(data: bytes) -> str | None:
    """Return the name of the format that the content begins like, whether it is read here or not: JPEG, PNG, HEIC..."""
    known = (_READ | _KNOWN).items()
    return next((name for name, signature in known if re.match(signature, data, re.DOTALL)), None)


_START_OF_SCAN = re.compile(rb"\xff\xda")


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that orders thousands of passes over its pixels, at ten bytes each.

    Real ones have at most a few dozen. Metadata and films appended by phones hold the marker by chance,
    once in 64 KiB, and are allowed four times that.
    """
    scans = len(_START_OF_SCAN.findall(data))
    allowed = 100 + len(data) // 16_384
    if scans > allowed:
        raise BadImage("too_many_scans", f"the JPEG has {scans:,} scans; at most {allowed:,} are decoded")


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; a picture whose EXIF is broken stays as it is stored."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # noqa: BLE001 - see decode; here the pixels are good, only the metadata is not
        return


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.repeat(_eight_bits(image)[:, :, np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        image = _over_white(image)
    # np.array, not asarray: Pillow lends read-only memory, at which torch.from_numpy warns.
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


_BAND = 64
"""Rows that are brought from deep grey to 8 bits at a time."""


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return deep grey as (H, W) uint8: 65535 -> 255 for integers, 1.0 or 255.0 -> 255 for floats."""
    if image.mode == "F":
        shades: NDArray[np.float32] = np.nan_to_num(np.asarray(image), nan=0.0)
        scale = 255 if shades.min() >= 0 and shades.max() <= 1 else 1
        return np.rint(np.clip(shades, 0, 255) * scale).astype(np.uint8)
    levels = np.asarray(image)
    shades8 = np.empty(levels.shape, dtype=np.uint8)
    for top in range(0, len(levels), _BAND):  # in bands, for all at once would take several times their memory
        band = np.clip(levels[top : top + _BAND].astype(np.int64), 0, 65535)
        shades8[top : top + _BAND] = (band + 128) // 257
    return shades8


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow knows no direct way from premultiplied grey to RGBA
        image = image.convert("LA")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


_QUIET = re.compile(r"PIL\.")
_quiet_lock = threading.Lock()


def _hush_pillow() -> None:
    """Ignore warnings that Pillow's modules raise: what matters of them is in BadImage.

    A filter of the whole process, because warnings.catch_warnings is not safe between threads; looked for
    at every call, because others (pytest) put their own list of filters in place. What libtiff itself writes
    to stderr about some broken compressed TIFFs is out of reach from here.
    """
    if _is_hushed():
        return
    with _quiet_lock:  # a second insertion would first take the filter away from threads that rely on it
        if not _is_hushed():
            warnings.filterwarnings("ignore", module=_QUIET.pattern)


def _is_hushed() -> bool:
    return any(module == _QUIET and action == "ignore" for action, _, _, module, _ in warnings.filters)


def _explain(error: Exception, data: bytes) -> BadImage:
    if isinstance(error, Image.DecompressionBombError):
        return BadImage("too_many_pixels", "the picture has more pixels than Pillow decodes")
    if isinstance(error, UnidentifiedImageError) and format_of(data) not in _READ:
        return _explain_unknown(data)
    if "truncated" in str(error).lower() or _is_short_riff(data):
        return BadImage("truncated", "the file ends before its picture does")
    return BadImage("corrupt", "the file begins like a picture, but its content is broken")


_READ = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
}
_KNOWN = {
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(?:hei|hev|mif|msf)",
    "JPEG 2000": rb"\0{3}\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\0{3}\x0cJXL ",
    "PDF": rb"%PDF-",
    "EPS": rb"%!PS|\xc5\xd0\xd3\xc6",
    "SVG": rb"\s*(?:<\?xml.{,512}|<!--.{,512})?\s*<svg[\s>]",
    "Photoshop": rb"8BPS",
    "icon": rb"\0\0[\x01\x02]\0",
    "Netpbm": rb"P[1-7]\s",
}


def _is_short_riff(data: bytes) -> bool:
    """Return whether this is a WebP that is shorter than it says: its decoder does not tell."""
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _explain_unknown(data: bytes) -> BadImage:
    name = format_of(data)
    if name is None:
        return BadImage("not_an_image", "the content is not that of a picture")
    return BadImage("unsupported_format", f"this looks like {name}; JPEG, PNG, GIF, WebP, BMP and TIFF are read")
