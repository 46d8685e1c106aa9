"""One image is laid onto another where it fits best, and scored by what is not explained by straight edges alone."""

import numpy as np
import torch
from PIL import Image

import scenes
from thaw.data import signature
from thaw.inspection.likeness import alignment
from thaw.inspection.likeness.windows import UNITS


def spectra(*images):
    return torch.from_numpy(signature.spectra(signature.packed([scenes.signature(image) for image in images])))


def laid(one, other, cuts=((16, 0), (16, 0))):
    return alignment.lay(spectra(one), spectra(other), torch.tensor([cuts]))


def test_a_crop_is_found_where_it_was_cut_out():
    whole = scenes.scene(5, 400, 400)
    found = laid(whole, scenes.cropped(whole, 0.1, 0.12, 0.02, 0.04))
    assert found.scores[0] > 0.9
    np.testing.assert_allclose(found.cuts[0] / UNITS, [[0.12, 0.04], [0.1, 0.02]], atol=0.011)


def test_another_scene_does_not_fit_however_it_is_laid():
    assert max(laid(scenes.scene(number), scenes.scene(number + 100)).scores[0] for number in range(8)) < 0.5


def beam(number, place):
    """A photograph of a bright beam on a surface of its own."""
    surface = np.asarray(scenes.scene(number, 200, 200).convert("L")).astype(float) * 0.1
    surface[:, place : place + 14] += 180
    return Image.fromarray(surface.astype(np.uint8)).convert("RGB")


def test_two_beams_are_not_copies_though_nearly_all_of_their_contrast_is_alike():
    assert laid(beam(1, 60), beam(2, 60), ((0, 0), (0, 0))).scores[0] < 0.6
    assert laid(beam(1, 60), scenes.compressed(beam(1, 60)), ((0, 0), (0, 0))).scores[0] > 0.85


def test_an_image_that_shows_nothing_fits_nothing():
    white = Image.new("RGB", (60, 60), "white")
    assert laid(white, white).scores[0] == 0
    assert laid(white, scenes.scene(1)).scores[0] == 0


def test_no_images_are_no_scores():
    none = torch.zeros(0, signature.SIDE, signature.SIDE)
    assert alignment.lay(none, none, torch.zeros(0, 2, 2, dtype=torch.int64)).scores.shape == (0,)
