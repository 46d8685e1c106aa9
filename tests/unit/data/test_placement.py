"""Placement: boxes and masks go into the model's input with the pixels that they mark, and come back from it."""

import numpy as np
import pytest
import torch

from thaw.data.placement import Placement
from thaw.data.preprocess import Preprocess
from thaw.metrics.masks import IGNORED

FITS = ("letterbox", "stretch", "crop")
SIZES = [(48, 64), (64, 48), (64, 64), (200, 96), (33, 171), (7, 5)]


def marked(height, width, box):
    """Return an image with a white box on black."""
    image = torch.zeros((3, height, width), dtype=torch.uint8)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = 255
    return image


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("height", "width"), [size for size in SIZES if min(size) > 30])
def test_a_box_stays_around_what_it_marks(fit, height, width):
    box = (width // 2 - 8, height // 2 - 6, width // 2 + 9, height // 2 + 8)
    place = Preprocess(size=128, fit=fit).place(height, width)
    image = place.image(marked(height, width, box))[0]
    [placed] = place.boxes(np.array([box], dtype=np.float32))
    rows, columns = np.nonzero(image.numpy() > 127)
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.clip(placed, 0, 128) - found).max() <= 1


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_boxes_come_back_as_they_went(fit, height, width, seed):
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform(0, 1, (5, 2, 2)), axis=1)
    place = Preprocess(size=96, fit=fit).place(height, width)
    seen = place.seen
    boxes = (corners * [seen.width, seen.height] + [seen.left, seen.top]).reshape(5, 4).astype(np.float32)
    assert np.allclose(place.boxes_back(place.boxes(boxes)), boxes, atol=1e-3)


def test_boxes_that_leave_the_image_are_cut_on_their_way_back():
    place = Preprocess(size=64, fit="letterbox").place(32, 64)
    assert place.boxes_back(np.array([[-9, 0, 99, 64]], dtype=np.float32)).tolist() == [[0, 0, 64, 32]]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_mask_moves_with_its_image_and_comes_back(fit, height, width):
    mask = torch.zeros((height, width), dtype=torch.uint8)
    mask[:, width // 2 :] = 1
    place = Preprocess(size=400, fit=fit).place(height, width)
    laid = place.mask(mask).numpy()
    part = place.filled
    inside = np.zeros((400, 400), dtype=bool)
    inside[part.top : part.top + part.height, part.left : part.left + part.width] = True
    assert (laid[~inside] == IGNORED).all()
    assert set(np.unique(laid[inside])) <= {0, 1}
    back = place.mask_back(laid)
    seen = place.seen
    view = slice(seen.top, seen.top + seen.height), slice(seen.left, seen.left + seen.width)
    assert np.array_equal(back[view], mask.numpy()[view])
    outside = np.ones((height, width), dtype=bool)
    outside[view] = False
    assert (back[outside] == IGNORED).all()


def test_an_image_that_is_the_input_stays_as_it_is():
    place = Placement.unchanged(32)
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(place.image(image), image)
    assert torch.equal(place.mask(image[0]), image[0])
    assert place.boxes(np.array([[1, 2, 3, 4]], dtype=np.float32)).tolist() == [[1, 2, 3, 4]]
    assert place.boxes(np.zeros((0, 4), dtype=np.float32)).shape == (0, 4)
    assert place.boxes_back(np.zeros((0, 4), dtype=np.float32)).shape == (0, 4)
