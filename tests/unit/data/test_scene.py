"""Scenes: image, boxes and masks move together, and boxes that leave the picture are dropped by a stated share."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from thaw.config.experiment import Augment
from thaw.data.augment import augment, generator
from thaw.data.labels import Boxes
from thaw.data.preprocess import Preprocess
from thaw.data.scene import Scene

SEEDS = range(12)
STILL = {"hflip": 0, "vflip": 0, "rotate": 0, "shift": 0, "zoom": (1, 1)}
PLAIN = {"brightness": 0, "contrast": 0, "saturation": 0, **STILL}
MOVES = [
    {"hflip": 1},
    {"vflip": 1},
    {"rotate": 180},
    {"shift": 0.3},
    {"zoom": (0.5, 2)},
    {"hflip": 0.5, "vflip": 0.5, "rotate": 40, "shift": 0.2, "zoom": (0.7, 1.4)},
]
FITS = ("letterbox", "stretch", "crop")


def scene(height=120, width=160, left=50, top=30, high=40, wide=30):
    """Return a black picture with one white rectangle, its box and its mask."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[top : top + high, left : left + wide] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    box = np.array([[left, top, left + wide, top + high]], dtype=np.float32)
    carried = {"kind": 2, "things": Boxes(box, np.array([1])), "paint": mask, "other": None}
    return Scene.of(image, carried)


def bounds(bright):
    """Return x0, y0, x1, y1 around what is set in an (H, W) array."""
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("move", MOVES, ids=lambda move: "-".join(move))
def test_box_and_mask_stay_on_what_they_mark(move, seed, fit):
    moved = augment(scene(), Augment(**PLAIN | move), generator(seed, 0, "a"))
    pixels, carried = moved.placed(Preprocess(size=128, fit=fit), least=0.0)
    bright = pixels.float().mean(dim=0).numpy() > 200
    assert carried["kind"] == 2
    assert carried["other"] is None
    if bright.sum() < 30:
        return
    assert np.mean((carried["paint"] == 1) == bright) > 0.98
    [box] = carried["things"].boxes
    turned = "rotate" in move  # the box around a turned box is larger than what is in it
    low, high = box[:2] - bounds(bright)[:2], box[2:] - bounds(bright)[2:]
    assert (low <= 2.5).all()
    assert (high >= -2.5).all()
    assert turned or (np.abs([*low, *high]) <= 2.5).all()


@pytest.mark.parametrize("fit", FITS)
def test_what_the_picture_does_not_reach_has_no_label(fit):
    shrunk = augment(scene(), Augment(**PLAIN | {"zoom": (0.5, 0.5)}), generator(0, 0, "a"))
    _, carried = shrunk.placed(Preprocess(size=64, fit=fit), least=0.3)
    assert carried["paint"][0, 0] == 255
    assert carried["paint"][32, 32] in (0, 1)


@pytest.mark.parametrize(("left", "kept"), [(-20, False), (-15, True), (0, True), (145, True), (151, False)])
def test_a_box_that_loses_too_much_of_its_area_is_dropped(left, kept):
    moved = scene()
    box = tv_tensors.wrap(torch.tensor([[left, 30.0, left + 30, 70]]), like=moved.boxes["things"])
    shifted = Scene(moved.image, {"things": box}, {}, moved.annotations)
    _, carried = shifted.placed(Preprocess(size=160, fit="letterbox"), least=0.35)
    assert len(carried["things"].boxes) == kept
    assert len(carried["things"].labels) == kept
    if kept:
        assert carried["things"].boxes[0].tolist() == [max(0, left), 50, min(160, left + 30), 90]


def test_a_centre_crop_keeps_only_the_boxes_that_it_shows():
    _, carried = scene(left=2, wide=30).placed(Preprocess(size=60, fit="crop"), least=0.3)  # it shows x from 20 to 140
    [box] = carried["things"].boxes
    assert box.tolist() == [0, 15, 6, 35]
    _, carried = scene(left=2, wide=20).placed(Preprocess(size=60, fit="crop"), least=0.3)
    assert len(carried["things"].boxes) == 0


def test_an_image_without_boxes_is_not_one_without_a_label():
    empty = Boxes(np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.int64))
    one = Scene.of(np.zeros((20, 30, 3), dtype=np.uint8), {"things": empty, "others": None})
    moved = augment(one, Augment(), generator(0, 0, "a"))
    _, carried = moved.placed(Preprocess(size=32, fit="crop"), least=0.3)
    assert carried["things"].boxes.shape == (0, 4)
    assert carried["others"] is None
