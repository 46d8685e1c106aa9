"""masks: a picture of one value a pixel belongs to the image of the same name, and other pictures are no masks."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import hostile
from thaw.data.sources import masks
from thaw.data.sources.contract import BadLabel, RawMask, Reference
from thaw.errors import DataError

NAMES = {0: "floor", 9: "wall"}
PIXELS = np.array([[0, 9, 255], [9, 0, 1]], dtype=np.uint8)


@pytest.fixture
def source(tmp_path):
    """Write empty files, or pictures, and return a source of their folder."""

    def _source(*files, pictures=None, **options):
        for name, content in {**dict.fromkeys(files, b""), **(pictures or {})}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return masks.Source(masks.Options(type="masks", path=str(tmp_path), names=NAMES, **options))

    return _source


def picture(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_mask_belongs_to_the_image_of_the_same_name_in_the_same_folder(source):
    made = source("images/a.jpg", "images/b.jpg", "images/x/a.jpg", "masks/a.png", "masks/x/a.bmp", "masks/.b.png")
    assert list(made.references()) == [
        Reference("images/a.jpg", {"mask": RawMask("masks/a.png", NAMES)}),
        Reference("images/b.jpg", {"mask": None}),
        Reference("images/x/a.jpg", {"mask": RawMask("masks/x/a.bmp", NAMES)}),
    ]


def test_folders_may_be_splits_and_have_other_names(source):
    made = source("in/train/a.jpg", "in/Test/b.jpg", "in/c.jpg", "out/train/a.png", images="in", masks="out")
    assert {one.id: one.split for one in made.references()} == {
        "in/Test/b.jpg": "test",
        "in/c.jpg": None,
        "in/train/a.jpg": "train",
    }


def _palette():
    image = Image.fromarray(PIXELS).convert("P")
    image.putdata(PIXELS.ravel().tolist())
    image.putpalette([7, 7, 7] * 256)  # colours say nothing
    return image


@pytest.mark.parametrize(
    "content",
    [
        picture(Image.fromarray(PIXELS)),
        picture(_palette()),
        picture(Image.fromarray(PIXELS.astype(np.uint16))),
        picture(Image.fromarray(PIXELS.astype(np.int32)), "TIFF"),
        picture(Image.fromarray(PIXELS), "BMP"),
    ],
    ids=["grey", "palette", "grey of 16 bits", "TIFF of 32 bits", "BMP"],
)
def test_grey_levels_and_places_in_a_palette_are_the_values(source, content):
    made = source(pictures={"masks/a.png": content})
    found = made.mask("masks/a.png", 3, 2)
    assert found.dtype == np.uint8
    assert found.tolist() == PIXELS.tolist()


def test_black_and_white_is_zero_and_one(source):
    made = source(pictures={"masks/a.png": picture(Image.fromarray(PIXELS > 5))})
    assert made.mask("masks/a.png", 3, 2).tolist() == (PIXELS > 5).tolist()


def test_a_mask_is_not_turned_by_its_exif(source):
    exif = Image.Exif()
    exif[0x0112] = 6
    made = source(pictures={"masks/a.png": picture(Image.fromarray(PIXELS), exif=exif)})
    assert made.mask("masks/a.png", 3, 2).tolist() == PIXELS.tolist()


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "mask_unreadable", "a.png is not a picture"),
        (picture(Image.fromarray(PIXELS))[:45], "mask_unreadable", "a.png is not a picture"),
        (picture(Image.new("RGB", (3, 2))), "mask_unreadable", "a picture in RGB"),
        (picture(Image.new("LA", (3, 2))), "mask_unreadable", "a picture in LA"),
        (picture(Image.fromarray(PIXELS.astype(np.uint16) * 2)), "mask_unreadable", "whole numbers from 0 to 255"),
        (picture(Image.fromarray(PIXELS.astype(np.float32)), "TIFF"), "mask_unreadable", "whole numbers"),
        (picture(Image.new("L", (2, 3))), "mask_size", "a.png has 2 x 3 pixels, its image 3 x 2"),
        (picture(Image.new("1", (2000, 3000)))[:200], "mask_size", "2000 x 3000"),  # before any pixel is decoded
        (picture(Image.new("1", (20_000, 20_000)))[:200], "mask_unreadable", "not a picture that can be read"),
    ],
)
def test_other_pictures_are_set_aside_for_their_reason(source, content, reason, words):
    made = source(pictures={"masks/a.png": content})
    with pytest.raises(BadLabel, match=words) as caught:
        made.mask("masks/a.png", 3, 2)
    assert caught.value.reason == reason


def _tiled(width, height):
    """Return a TIFF of 3 x 2 pixels that declares one tile of this size."""
    return hostile._tiff({256: 3, 257: 2, 322: width, 323: height})


@pytest.mark.parametrize(("content", "words"), [(_tiled(16_384, 16_384), "a tile of 16384 x 16384 pixels; at most")])
def test_a_tile_far_larger_than_its_mask_is_not_decoded(source, content, words):
    made = source(pictures={"masks/a.tif": content})
    with pytest.raises(BadLabel, match=words) as caught:
        made.mask("masks/a.tif", 3, 2)
    assert caught.value.reason == "mask_unreadable"


def test_a_mask_of_more_bytes_than_an_image_may_have_is_not_read(source, tmp_path):
    made = source(pictures={"masks/a.png": picture(Image.fromarray(PIXELS))})
    os.truncate(tmp_path / "masks" / "a.png", 2**42)
    with pytest.raises(BadLabel, match=r"a\.png has more than the 67,108,864 bytes"):
        made.mask("masks/a.png", 3, 2)


def test_a_mask_that_is_gone_is_an_os_error(source):
    with pytest.raises(OSError):
        source("images/a.jpg").mask("masks/a.png", 3, 2)


@pytest.mark.parametrize("names", [{}, {-1: "x"}, {256: "x"}, {"a": "x"}])
def test_options_refuse_names_of_values_that_no_mask_has(names):
    with pytest.raises(ValidationError):
        masks.Options(type="masks", path="x", names=names)


def test_a_folder_without_images_or_masks_is_refused(source):
    with pytest.raises(DataError, match="masks is not a folder"):
        list(source("images/a.jpg").references())
    with pytest.raises(DataError, match="images2 holds no image"):
        list(source("images2/.a.jpg", "masks/a.png", images="images2").references())
