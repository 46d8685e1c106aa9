"""Run lengths: the same text as COCO's own code writes, and nothing that does not fill its mask is believed."""

import numpy as np
import pytest
from faster_coco_eval import mask as coco

from thaw.data import rle
from thaw.data.rle import Rle


def drawn(seed):
    """Return a mask: noise, stripes, a blob, nothing or everything, of odd sizes."""
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 90, 2)
    rows, columns = np.mgrid[:height, :width]
    kinds = (
        random.random((height, width)) < random.random(),
        columns % 7 < 3,
        rows % 5 < 2,
        (rows - height / 2) ** 2 + (columns - width / 3) ** 2 < (height / 3) ** 2,
        np.zeros((height, width), dtype=bool),
        np.ones((height, width), dtype=bool),
    )
    return kinds[seed % len(kinds)]


@pytest.mark.parametrize("seed", range(24))
def test_masks_come_back_and_read_as_cocos_own(seed):
    mask = drawn(seed)
    runs = rle.encode(mask)
    told = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert runs.counts == told["counts"].decode()
    assert list(runs.size) == told["size"] == list(mask.shape)
    assert np.array_equal(rle.decode(runs), mask)
    assert rle.decode(runs).dtype == bool
    assert Rle.model_validate_json(runs.model_dump_json()) == runs


@pytest.mark.parametrize("seed", range(12))
def test_all_classes_at_once_are_what_each_is_alone(seed):
    random = np.random.default_rng(seed)
    mask = random.integers(0, 5, random.integers(1, 60, 2), dtype=np.uint8) * drawn(seed).any().astype(np.uint8)
    mask[random.random(mask.shape) < 0.1] = 255
    found = rle.encode_classes(mask)
    assert found.keys() == set(np.unique(mask).tolist())
    for place, (runs, pixels) in found.items():
        assert runs == rle.encode(mask == place)
        assert pixels == (mask == place).sum()


def test_long_runs_have_several_digits():
    mask = np.zeros((3000, 2000), dtype=bool)
    mask[:, 700:1900] = True
    assert np.array_equal(rle.decode(rle.encode(mask)), mask)
    assert rle.encode(mask).counts == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def test_plain_run_lengths_go_down_the_columns():
    assert rle.from_runs([1, 2, 3], (3, 2)).tolist() == [[False, False], [True, False], [True, False]]
    assert rle.from_runs([0, 6], (3, 2)).all()


@pytest.mark.parametrize("counts", ["", "é", "\x00", "   ", "o", "0" * 3 + "o", "o" * 20 + "0", "1" * 9, "~~", "9"])
def test_text_that_is_no_mask_of_this_size_is_refused(counts):
    with pytest.raises(ValueError):
        rle.decode(Rle(size=(3, 2), counts=counts))


@pytest.mark.parametrize("runs", [[2**62] * 4 + [16], [2**63 - 1, 17], [2**61] * 8 + [0, 16]])
def test_run_lengths_whose_sum_wraps_around_are_refused(runs):
    with pytest.raises(ValueError, match="add up to 4 x 4"):
        rle.from_runs(runs, (4, 4))


@pytest.mark.parametrize("runs", [[2**64], [-(2**70)], [3.9, 12.9, 1.5], [16.0], ["16"], [[16]], [None], [True]])
def test_run_lengths_that_are_no_whole_numbers_are_refused(runs):
    with pytest.raises(ValueError, match="whole numbers"):
        rle.from_runs(runs, (4, 4))


@pytest.mark.parametrize("runs", [[], [5], [7], [3, -1, 4], [2**40]])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(runs):
    with pytest.raises(ValueError, match="add up to 3 x 2"):
        rle.from_runs(runs, (3, 2))
