"""A signature says what an image looks like, whatever its size, brightness and contrast."""

import base64

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import scenes
from thaw.data import signature
from thaw.inspection.likeness import windows


def spectrum(image):
    [found] = signature.spectra(signature.packed([scenes.signature(image)]))
    return found


def alike(one, other):
    """Return the correlation of two spectra, with waves of all lengths counting alike."""
    one, other = (spectrum * signature.frequencies() for spectrum in (one, other))
    return (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)


def test_every_signature_has_the_same_length():
    for size in ((1, 1), (3, 200), (640, 480)):
        assert len(base64.b64decode(scenes.signature(Image.new("RGB", size, "red")))) == signature.BYTES
        assert len(base64.b64decode(scenes.signature(scenes.scene(0, *size)))) == signature.BYTES


@pytest.mark.parametrize("change", ["compressed", "halved", "enlarged", "darkened", "grey"])
def test_what_leaves_the_scene_as_it_is_leaves_the_signature(change):
    one = scenes.scene(1)
    assert alike(spectrum(one), spectrum(scenes.CHANGES[change](one))) > 0.95


def test_other_scenes_have_other_signatures():
    spectra = [spectrum(scenes.scene(number)) for number in range(12)]
    others = [alike(one, other) for place, one in enumerate(spectra) for other in spectra[:place]]
    assert max(others) < 0.4


def test_the_mirror_image_follows_from_the_image():
    one = scenes.scene(2)
    found = windows.mirrored(torch.from_numpy(spectrum(one)))
    assert alike(found.numpy(), spectrum(ImageOps.mirror(one))) > 0.99


def test_rows_go_down_and_columns_across():
    across = np.cos(np.pi * 3 * (np.arange(160) + 0.5) / 160) * 50 + 128
    image = Image.fromarray(np.tile(across.astype(np.uint8), (120, 1))).convert("RGB")
    assert np.unravel_index(np.abs(spectrum(image)).argmax(), (signature.SIDE, signature.SIDE)) == (0, 3)


def test_an_image_of_one_grey_has_nothing_to_compare():
    noisy = np.full((90, 90, 3), 130, np.uint8)
    noisy[::2] += 1
    for image in (Image.new("RGB", (50, 40), "white"), Image.fromarray(noisy)):
        assert not spectrum(image).any()
