"""Preprocess: any image becomes the square of the model, by geometry alone."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from thaw.config.experiment import Image
from thaw.data.placement import PAD
from thaw.data.preprocess import Preprocess, as_tensor

FITS = ("letterbox", "stretch", "crop")
SIZES = [(1, 1), (1, 3000), (3000, 1), (2, 3), (37, 91), (91, 37), (32, 32), (31, 33), (200, 200)]


def noise(height, width):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def shown(image, fit, size=32):
    return Preprocess(size=size, fit=fit)(image)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [32, 45])
@pytest.mark.parametrize("given", SIZES)
def test_an_image_of_any_size_becomes_the_square(fit, size, given):
    image = noise(*given)
    before = image.clone()
    result = shown(image, fit, size)
    assert (result.shape, result.dtype) == ((3, size, size), torch.uint8)
    assert torch.equal(image, before)


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_the_right_size_is_untouched(fit):
    image = noise(32, 32)
    assert torch.equal(shown(image, fit), image)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("given", SIZES)
def test_one_colour_stays_one_colour(fit, given):
    result = shown(torch.full((3, *given), 200, dtype=torch.uint8), fit)
    assert set(result.unique().tolist()) <= ({200, PAD} if fit == "letterbox" else {200})
    assert (result == 200).any()


@pytest.mark.parametrize(("height", "width"), [(32, 20), (32, 21), (20, 32), (1, 32), (32, 1)])
def test_a_letterbox_centres_the_whole_image_on_grey(height, width):
    image = noise(height, width)
    result = shown(image, "letterbox")
    top, left = (32 - height) // 2, (32 - width) // 2
    assert torch.equal(result[:, top : top + height, left : left + width], image)
    result[:, top : top + height, left : left + width] = PAD
    assert (result == PAD).all()


@pytest.mark.parametrize(("height", "width", "content"), [(64, 40, (32, 20)), (37, 91, (13, 32)), (8, 4, (32, 16))])
def test_a_letterbox_keeps_the_aspect(height, width, content):
    result = shown(torch.full((3, height, width), 250, dtype=torch.uint8), "letterbox")[0] == 250
    assert (int(result.any(1).sum()), int(result.any(0).sum())) == content


@pytest.mark.parametrize(("height", "width"), [(32, 50), (50, 32), (32, 400)])
def test_a_crop_keeps_the_centre(height, width):
    image = noise(height, width)
    top, left = (height - 32) // 2, (width - 32) // 2
    assert torch.equal(shown(image, "crop"), image[:, top : top + 32, left : left + 32])


def test_a_crop_shows_the_middle_of_a_larger_image_at_its_aspect():
    image = torch.zeros(3, 64, 192, dtype=torch.uint8)
    image[:, 16:48, 80:112] = 255  # a centred square, half as high as the image
    white = shown(image, "crop")[0] > 128
    assert white.any(0).nonzero().flatten().tolist() == list(range(8, 24))
    assert white.any(1).nonzero().flatten().tolist() == list(range(8, 24))


@pytest.mark.parametrize(("height", "width"), [(64, 128), (16, 8), (37, 91)])
def test_a_stretch_keeps_everything_and_fills_the_square(height, width):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, :, width // 2 :] = 250
    result = shown(image, "stretch")[0].float()
    assert result[:, :12].max() < 20
    assert result[:, -12:].min() > 230
    assert (result.max(0).values - result.min(0).values).max() <= 1


@pytest.mark.parametrize("fit", FITS)
def test_a_smaller_picture_averages_what_it_leaves_out(fit):
    lines = torch.zeros(3, 128, 128, dtype=torch.uint8)
    lines[:, ::4] = 200
    assert (shown(lines, fit).int() - 50).abs().max() <= 15


@pytest.mark.parametrize("fit", FITS)
def test_left_stays_left_and_top_stays_top(fit):
    image = torch.zeros(3, 100, 80, dtype=torch.uint8)
    image[0, :, :40] = image[1, :50] = 255
    result = shown(image, fit)
    assert result[0, 16, 10] == 255
    assert result[0, 16, 22] == 0
    assert result[1, 10, 16] == 255
    assert result[1, 22, 16] == 0


def test_a_very_long_image_is_cropped_without_a_very_large_one_in_between():
    # as long as an upload may be; it takes no memory itself
    image = torch.full((3, 1, 1), 9, dtype=torch.uint8).expand(3, 1, 50_000_000)
    assert (shown(image, "crop", 224) == 9).all()


def test_it_does_what_the_experiment_says_and_survives_json():
    one = Preprocess.of(Image(size=96, fit="stretch"))
    assert one == Preprocess(size=96, fit="stretch")
    assert Preprocess.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError, match="frozen"):
        one.size = 3
    with pytest.raises(ValidationError, match="fit"):
        Preprocess(size=96, fit="squash")


def test_pixels_are_turned_to_channels_first_without_a_copy():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    tensor = as_tensor(pixels)
    assert tensor.shape == (3, 2, 4)
    assert all(tensor[channel, 1, 2] == pixels[1, 2, channel] for channel in range(3))
    pixels[0, 0, 1] = 99
    assert tensor[1, 0, 0] == 99
