"""Hostile: a folder of the files that people and attackers upload, each with the answer it should get.

The good ones show one picture: left half red, right half blue, a green square at the top left. ``shows`` says
what becomes of it where a format cannot hold it. Sizes are small, but for bombs: those are far beyond any
sensible limit of pixels (over 200 million declared) in files of a few kilobytes.
"""

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.Image import Transpose

Colour = tuple[int, int, int]
Files = dict[str, tuple[bytes, str | None]]

WIDTH, HEIGHT, MARKER = 96, 64, 16
SPOTS = {"marker": (8, 8), "left": (40, 24), "right": (40, 72)}
"""Where to look, as (row, column): the middle of each of the picture's three parts."""

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_COLOURS = {"marker": (0, 255, 0), "left": (255, 0, 0), "right": (0, 0, 255)}
_GREYS = {"marker": _WHITE, "left": (170, 170, 170), "right": (85, 85, 85)}


def write(folder: Path) -> dict[str, str | None]:
    """Write every file into ``folder``; return name -> reason of refusal, None where the image is good."""
    made = files()
    for name, (data, _) in made.items():
        (folder / name).write_bytes(data)
    return {name: reason for name, (_, reason) in made.items()}


@functools.cache
def files() -> Files:
    """Return name -> (bytes, reason of refusal or None), the same at every call."""
    made: Files = {}
    for group in (
        _truncated,
        _no_pictures,
        _unsupported,
        _bombs,
        _broken,
        _greys,
        _alphas,
        _inks,
        _turned,
        _odd,
    ):
        made |= group()
    return made


def shows(name: str) -> dict[str, Colour]:
    """Return spot -> colour that the good file of this name shows."""
    if name.startswith("grey_"):
        return _GREYS
    if name.startswith("alpha_grey_"):
        return _GREYS | {"right": _WHITE}
    if name.startswith("alpha_half_"):
        return _COLOURS | {"right": (127, 127, 255)}
    if name.startswith("alpha_"):
        return _COLOURS | {"right": _WHITE}
    if name.startswith("bilevel_"):
        return {"marker": _WHITE, "left": _BLACK, "right": _WHITE}
    if name.startswith("red_"):
        return dict.fromkeys(SPOTS, (255, 0, 0))
    return _COLOURS


def picture() -> Image.Image:
    """Return the picture that good files show."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _COLOURS["left"])
    image.paste(_COLOURS["right"], (WIDTH // 2, 0, WIDTH, HEIGHT))
    image.paste(_COLOURS["marker"], (0, 0, MARKER, MARKER))
    return image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of ``image`` in the format that Pillow calls ``kind``."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def samples() -> dict[str, bytes]:
    """Return one good file of every format that is read: the seeds of a fuzz."""
    frames = {"save_all": True, "append_images": [picture().rotate(180)]}
    return {
        "jpeg": encode(picture(), "JPEG", quality=95),
        "progressive": encode(picture(), "JPEG", quality=95, progressive=True),
        "exif": encode(picture(), "JPEG", quality=95, exif=_exif(6)),
        "mpo": encode(picture(), "MPO", quality=95, **frames),
        "cmyk": encode(picture().convert("CMYK"), "JPEG", quality=95),
        "png": encode(picture(), "PNG"),
        "palette": encode(_palette(), "PNG", transparency=2),
        "deep": encode(Image.fromarray(_levels(65535).astype(np.uint16)), "PNG"),
        "gif": encode(picture(), "GIF", **frames),
        "webp": encode(picture(), "WEBP", quality=95),
        "webp_lossless": encode(picture(), "WEBP", lossless=True, **frames),
        "bmp": encode(picture(), "BMP"),
        "tiff": encode(picture(), "TIFF"),
        "tiff_deflate": encode(picture(), "TIFF", compression="tiff_adobe_deflate"),
        "tiff_lzw": encode(_palette(), "TIFF", compression="tiff_lzw"),
        "tiff_jpeg": encode(picture(), "TIFF", compression="jpeg"),
    }


def _truncated() -> Files:
    files: Files = {}
    good = samples() | {"gif": encode(picture(), "GIF")}
    endings = {"jpeg": "jpg", "progressive": "jpg", "png": "png", "webp": "webp", "gif": "gif", "tiff": "tif"}
    for kind, ending in endings.items():
        data = good[kind]
        in_header = "truncated" if kind in ("jpeg", "progressive", "webp") else "corrupt"
        files[f"cut_{kind}_header.{ending}"] = data[:13], in_header
        files[f"cut_{kind}_half.{ending}"] = data[: len(data) // 2], "truncated"
        files[f"cut_{kind}_most.{ending}"] = data[: len(data) * 9 // 10], "truncated"
    files["cut_jpeg_signature.jpg"] = b"\xff\xd8\xff\xe0", "corrupt"
    files["cut_jpeg_end_marker.jpg"] = good["jpeg"][:-2], "truncated"
    files["cut_png_last_pixels.png"] = good["png"][:-30], "truncated"
    files["cut_webp_last_byte.webp"] = good["webp"][:-1], "truncated"
    files["cut_behind_pixels.png"] = good["png"][:-12], None
    files["cut_second_frame.gif"] = samples()["gif"][:-20], None
    return files


def _no_pictures() -> Files:
    noise = np.random.default_rng(7).bytes(5000)
    return {
        "empty.jpg": (b"", "empty"),
        "one_byte.jpg": (b"\xff", "not_an_image"),
        "text.png": (b"Not a picture, only its name.\n", "not_an_image"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        "script.jpg": (b"#!/bin/sh\necho hello\n", "not_an_image"),
        "program.png": (b"\x7fELF\x02\x01\x01" + bytes(200), "not_an_image"),
        "random.jpg": (noise, "not_an_image"),
        "zeros.png": (bytes(4096), "not_an_image"),
        "archive.png": (b"PK\x05\x06" + bytes(18), "not_an_image"),
        "wave.webp": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(28), "not_an_image"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not_an_image"),
    }


def _unsupported() -> Files:
    signatures = {
        "vector.svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9"/>',
        "document.pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "postscript_named.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "layers.psd": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(14),
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "phone.avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
        "icon.ico": encode(picture(), "ICO", sizes=[(16, 16)]),
        "netpbm.ppm": encode(picture(), "PPM"),
        "jpeg2000.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    }
    return {name: (data, "unsupported_format") for name, data in signatures.items()}


def _bombs() -> Files:
    jpeg, gif, bmp = (samples()[kind] for kind in ("jpeg", "gif", "bmp"))
    size = jpeg.index(b"\xff\xc0") + 5
    vp8x = b"VP8X" + struct.pack("<II", 10, 0) + struct.pack("<I", 16382)[:3] * 2
    pixels = {
        "bomb_header.png": _png(60_000, 60_000, 8, 2, zlib.compress(bytes(10_000))),
        "bomb_bilevel.png": _png(20_000, 20_000, 1, 0, _deflated_zeros(20_000 * 2501)),
        "bomb_canvas.gif": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "bomb_frame.gif": _gif_with_far_frame(gif),
        "bomb_header.jpg": jpeg[:size] + struct.pack(">HH", 65_000, 65_000) + jpeg[size + 4 :],
        "bomb_header.bmp": bmp[:18] + struct.pack("<ii", 30_000, 30_000) + bmp[26:],
        "bomb_canvas.webp": b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x,
        "bomb_header.tif": _tiff({256: 60_000, 257: 60_000, 322: 256, 323: 256}),
        "bomb_tile.tif": _tiff({256: 64, 257: 64, 322: 20_000, 323: 20_000}),
    }
    files: Files = {name: (data, "too_many_pixels") for name, data in pixels.items()}
    files["bomb_scans.jpg"] = _with_scans(1000), "too_many_scans"
    files["bomb_iccp.png"] = _with_chunk(b"iCCP", b"p\0\0" + _deflated_zeros(80_000_000)), "corrupt"
    files["bomb_ztxt.png"] = _with_chunk(b"zTXt", b"k\0\0" + _deflated_zeros(2_000_000)), "corrupt"
    return files


def _broken() -> Files:
    png, jpeg, gif = (samples()[kind] for kind in ("png", "jpeg", "gif"))
    data = png.index(b"IDAT") + 12
    table = jpeg.index(b"\xff\xc4")
    return {
        "bad_crc_header.png": (png[:29] + b"\0\0\0\0" + png[33:], "corrupt"),
        "bad_stream.png": (png[:data] + b"\xff" * 8 + png[data + 8 :], "corrupt"),
        "bad_no_pixels.png": (_png(8, 8, 8, 2, b""), "truncated"),
        "bad_zero_width.png": (_png(0, 8, 8, 2, zlib.compress(bytes(8))), "corrupt"),
        "bad_depth.png": (_png(8, 8, 3, 2, zlib.compress(bytes(8))), "corrupt"),
        "bad_crc_text.png": (_with_chunk(b"tEXt", b"k\0v", crc=b"\0\0\0\0"), "corrupt"),
        "bad_tables.jpg": (jpeg[: table + 4] + b"\xff" * 16 + jpeg[table + 20 :], "corrupt"),
        "bad_zero_height.jpg": (_jpeg_without_height(jpeg), "corrupt"),
        "bad_no_frame.gif": (gif[:13] + b"\x3b", "corrupt"),
        "bad_loop.tif": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "corrupt"),
    }


def _greys() -> Files:
    deep = Image.fromarray(_levels(65535).astype(np.uint16))
    big_endian = Image.fromarray(_levels(65535).astype(">u2"))
    images = {
        "grey_8bit.jpg": encode(Image.fromarray(_levels(255).astype(np.uint8)), "JPEG", quality=95),
        "grey_16bit.png": encode(deep, "PNG"),
        "grey_16bit.tif": encode(deep, "TIFF"),
        "grey_16bit_big_endian.tif": encode(big_endian, "TIFF"),
        "grey_32bit.tif": encode(Image.fromarray(_levels(65535).astype(np.int32)), "TIFF"),
        "grey_float_to_1.tif": encode(Image.fromarray(_levels(1).astype(np.float32)), "TIFF"),
        "grey_float_to_255.tif": encode(Image.fromarray(_levels(255).astype(np.float32)), "TIFF"),
        "grey_16bit_turned.tif": encode(deep.transpose(Transpose.ROTATE_90), "TIFF", tiffinfo={274: 6}),
        "bilevel_1bit.png": encode(_bilevel(), "PNG"),
        "bilevel_group4.tif": encode(_bilevel(), "TIFF", compression="group4"),
    }
    return {name: (data, None) for name, data in images.items()}


def _alphas() -> Files:
    clear, half = _see_through(0), _see_through(128)
    grey = Image.fromarray(_levels(255).astype(np.uint8))
    grey.putalpha(clear.getchannel("A"))
    images = {
        "alpha_rgba.png": encode(clear, "PNG"),
        "alpha_rgba.webp": encode(clear, "WEBP", lossless=True),
        "alpha_rgba.tif": encode(clear, "TIFF"),
        "alpha_half_rgba.png": encode(half, "PNG"),
        "alpha_named.jpg": encode(clear, "PNG"),
        "alpha_grey_la.png": encode(grey, "PNG"),
        "alpha_grey_premultiplied.tif": _premultiplied(encode(grey, "TIFF")),
        "alpha_palette.png": encode(_palette(), "PNG", transparency=2),
        "alpha_palette_shades.png": encode(_palette(), "PNG", transparency=b"\xff\xff\0"),
        "alpha_palette.gif": encode(_palette(), "GIF", transparency=2),
        "alpha_colour_key.png": encode(picture(), "PNG", transparency=_COLOURS["right"]),
    }
    return {name: (data, None) for name, data in images.items()}


def _inks() -> Files:
    cmyk = picture().convert("CMYK")
    plain = encode(cmyk, "JPEG", quality=95)
    images = {
        "ink_cmyk_adobe.jpg": plain,
        "ink_ycck_adobe.jpg": _ycck(),
        "ink_cmyk.tif": encode(cmyk, "TIFF"),
        "ink_lab.tif": encode(_lab(), "TIFF"),
        "ink_ycbcr.tif": encode(picture().convert("YCbCr"), "TIFF"),
        "colour_16bit.png": _png(WIDTH, HEIGHT, 16, 2, _deep_colour_rows()),
    }
    return {name: (data, None) for name, data in images.items()}


def _turned() -> Files:
    files: Files = {}
    for orientation, undo in _UNDO.items():
        stored = picture() if undo is None else picture().transpose(undo)
        data = encode(stored, "JPEG", quality=95, exif=_exif(orientation))
        files[f"turned_{orientation}.jpg"] = data, None
    stored = picture().transpose(Transpose.ROTATE_90)
    files["turned_6.png"] = encode(stored, "PNG", exif=_exif(6)), None
    files["turned_6.webp"] = encode(stored, "WEBP", lossless=True, exif=_exif(6)), None
    files["turned_6.tif"] = encode(stored, "TIFF", tiffinfo={274: 6}), None
    files["turned_6_broken_exif.jpg"] = encode(stored, "JPEG", quality=95, exif=_exif(6) + b"\xff" * 9), None
    return files


def _odd() -> Files:
    good = samples()
    film = (bytes(30_000) + b"\xff\xda") * 140
    garbage = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x07\0\xff\xff\xff\x7f" * 40
    files = {
        "animated.gif": good["gif"],
        "animated.webp": good["webp_lossless"],
        "animated.png": encode(picture(), "PNG", save_all=True, append_images=[picture().rotate(180)]),
        "gif_named.jpg": good["gif"],
        "png_named.jpg": good["png"],
        "no_ending": good["webp"],
        "UPPER CASE.JPG": good["jpeg"],
        "name with spaces, ümlaut & 猫.png": good["png"],
        "progressive.jpg": good["progressive"],
        "stereo.mpo": good["mpo"],
        "bitmap.bmp": good["bmp"],
        "compressed.tif": good["tiff_deflate"],
        "jpeg_inside.tif": good["tiff_jpeg"],
        "many_scans.jpg": _with_scans(60),
        "film_appended.jpg": good["jpeg"] + film,
        "archive_appended.png": good["png"] + b"PK\x05\x06" + bytes(18),
        "bad_crc_of_pixels.png": good["png"][:-16] + bytes(4) + good["png"][-12:],
        "broken_exif.jpg": encode(picture(), "JPEG", quality=95, exif=garbage),
        "endless_directory.tif": good["tiff"][:8] + b"\xff\xff" + good["tiff"][10:],
        "broken_exif_cut.jpg": encode(picture(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\x08"),
        "broken_exif_text.jpg": encode(picture(), "JPEG", quality=95, exif=b"Exif\0\0not a directory"),
        "broken_exif_text.png": encode(picture(), "PNG", exif=b"Exif\0\0not a directory"),
        "broken_exif_text.webp": encode(picture(), "WEBP", lossless=True, exif=b"Exif\0\0not a directory"),
        "broken_mpo_index.jpg": _with_app2(good["jpeg"], b"MPF\0" + b"\xff" * 40),
        "red_pixel_1x1.png": encode(Image.new("RGB", (1, 1), "red"), "PNG"),
        "red_line_1x3000.png": encode(Image.new("RGB", (1, 3000), "red"), "PNG"),
        "red_line_3000x1.jpg": encode(Image.new("RGB", (3000, 1), "red"), "JPEG", quality=95),
    }
    return {name: (data, None) for name, data in files.items()}


_UNDO: dict[int, Transpose | None] = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def _exif(orientation: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIIi", 274, 3, 1, orientation, 0)


def _levels(top: int) -> NDArray[np.float64]:
    """Return the picture in shades of grey, from 0 to ``top``."""
    shades = np.full((HEIGHT, WIDTH), 170 / 255)
    shades[:, WIDTH // 2 :] = 85 / 255
    shades[:MARKER, :MARKER] = 1
    return shades * top


def _bilevel() -> Image.Image:
    ink = np.zeros((HEIGHT, WIDTH), dtype=bool)
    ink[:, WIDTH // 2 :] = ink[:MARKER, :MARKER] = True
    return Image.fromarray(ink)


def _palette() -> Image.Image:
    """Return the picture in three palette entries: 0 marker, 1 left, 2 right."""
    entries = np.ones((HEIGHT, WIDTH), dtype=np.uint8)
    entries[:, WIDTH // 2 :] = 2
    entries[:MARKER, :MARKER] = 0
    image = Image.fromarray(entries, "P")
    image.putpalette([value for colour in _COLOURS.values() for value in colour])
    return image


def _see_through(alpha: int) -> Image.Image:
    """Return the picture with a right half of this opacity."""
    image = picture().convert("RGBA")
    image.paste((*_COLOURS["right"], alpha), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


def _premultiplied(tiff: bytes) -> bytes:
    """Return a grey TIFF with alpha that says its grey is multiplied by it already."""
    samples_kind = tiff.index(struct.pack("<HHI", 338, 3, 1)) + 8
    return tiff[:samples_kind] + b"\x01" + tiff[samples_kind + 1 :]


def _deep_colour_rows() -> bytes:
    pixels = np.asarray(picture()).astype(">u2") * 257
    return zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))


def _ycck() -> bytes:
    """Return the picture as Photoshop writes it: inverted CMYK, and its CMY turned into YCC.

    Pillow writes inverted CMYK only, so Y, Cb and Cr go in as inks and the Adobe marker is changed to say so.
    """
    inks = [255 - np.asarray(plane).astype(np.int16) for plane in _cyan_magenta_yellow().split()]
    planes = [Image.fromarray(plane.astype(np.uint8)) for plane in inks]
    data = encode(Image.merge("CMYK", [*planes, Image.new("L", (WIDTH, HEIGHT), 0)]), "JPEG", quality=95)
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\x02" + data[transform + 1 :]


def _lab() -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(picture())
    del image.info["icc_profile"]  # it holds the time of its making
    return image


def _cyan_magenta_yellow() -> Image.Image:
    return Image.fromarray(255 - np.asarray(picture())).convert("YCbCr")


def _png(width: int, height: int, depth: int, colour: int, stream: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes, crc: bytes | None = None) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body)) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + check


def _with_chunk(kind: bytes, body: bytes, crc: bytes | None = None) -> bytes:
    png = samples()["png"]
    return png[:33] + _chunk(kind, body, crc) + png[33:]


def _with_app2(jpeg: bytes, body: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _deflated_zeros(count: int) -> bytes:
    packer, block = zlib.compressobj(1), bytes(1_000_000)
    full = [packer.compress(block) for _ in range(count // len(block))]
    return b"".join([*full, packer.compress(bytes(count % len(block))), packer.flush()])


def _gif_with_far_frame(gif: bytes) -> bytes:
    """Return a GIF of a small canvas whose frame lies far outside of it."""
    frame = gif.index(b"\x2c\0\0\0\0") + 1
    return gif[:frame] + struct.pack("<HHHH", 20_000, 20_000, 9, 9) + gif[frame + 8 :]


def _with_scans(count: int) -> bytes:
    """Return a progressive JPEG that orders so many more passes, of ten bytes each, that change nothing."""
    data = samples()["progressive"]
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last : last + 10] * count + b"\xff\xd9"


def _jpeg_without_height(jpeg: bytes) -> bytes:
    height = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:height] + b"\0\0" + jpeg[height + 2 :]


def _tiff(tags: dict[int, int]) -> bytes:
    """Return a TIFF of 8-bit grey, deflated, with these numbers in its directory and ten bytes of content."""
    tags = {258: 8, 259: 8, 262: 1, 277: 1, 324: 8, 325: 10} | tags
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", 18) + bytes(10) + struct.pack("<H", len(tags)) + entries + bytes(4)
