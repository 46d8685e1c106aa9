"""Copies are found whatever was done to them, and nothing else is."""

import numpy as np
import pytest

import scenes
from thaw.data import signature
from thaw.inspection.likeness import near


@pytest.fixture(scope="module")
def signatures():
    """Those of 40 scenes."""
    return [scenes.signature(scenes.scene(number)) for number in range(40)]


def found(signatures, asked=None):
    packed = signature.packed(signatures)
    pairs = near.pairs(packed, np.arange(len(packed)) if asked is None else np.array(asked))
    return dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.scores.tolist(), strict=True))


@pytest.mark.parametrize("change", list(scenes.CHANGES))
def test_a_copy_is_found_with_nothing_else(signatures, change):
    copies = [scenes.signature(scenes.CHANGES[change](scenes.scene(number))) for number in (3, 17, 31)]
    pairs = found([*signatures, *copies])
    assert pairs.keys() == {(3, 40), (17, 41), (31, 42)}
    assert min(pairs.values()) >= near.FITS


def test_a_crop_is_found_whether_it_comes_before_or_after_its_image(signatures):
    crop = scenes.signature(scenes.cropped(scenes.scene(5), 0.15, 0, 0, 0.15))
    assert found([crop, *signatures]).keys() == {(0, 6)}
    assert found([*signatures, crop]).keys() == {(5, 40)}


def test_scenes_that_are_no_copies_are_not_reported(signatures):
    assert found(signatures) == {}


def test_images_of_one_grey_are_not_each_others_copies(signatures):
    white = scenes.signature(scenes.Image.new("RGB", (40, 40), "white"))
    assert found([*signatures, white, white]) == {}


def test_only_what_is_asked_for_is_looked_up(signatures):
    copies = [scenes.signature(scenes.compressed(scenes.scene(number))) for number in (3, 17)]
    assert found([*signatures, *copies], asked=[3]).keys() == {(3, 40)}
    assert found([*signatures, *copies], asked=[]) == {}
