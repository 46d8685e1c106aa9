"""Augmentation: off means untouched, on means within its bounds, and every draw repeats."""

import numpy as np
import pytest
import torch

from thaw.config.experiment import Augment
from thaw.data.augment import augment, generator
from thaw.data.scene import Scene

SEEDS = range(6)
ON = {
    "hflip": 1,
    "vflip": 1,
    "rotate": 90,
    "shift": 0.5,
    "zoom": (1.2, 2),
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.5,
    "blur": 1,
}
OFF = dict.fromkeys(ON, 0) | {"zoom": (1, 1)}
ELSEWHERE = {"least_box", "copy_paste", "mixup", "cutmix", "policy", "policy_strength", "policy_ops"}
"""Under test in test_scene.py, test_mix.py and test_policy.py."""
SIZES = [(1, 1), (2, 3), (1, 300), (300, 1), (37, 91)]


def only(**options):
    return Augment(**OFF | options)


def noise(height=24, width=32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def changed(image, options, seed=0, epoch=0, sample_id="a.jpg"):
    scene = Scene(image, {}, {}, {})
    return augment(scene, options, generator(seed, epoch, sample_id)).image


def spots(*places, height=101, width=121):
    """Return a black image with white squares of 5 pixels around these (row, column)."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for row, column in places:
        image[:, row - 2 : row + 3, column - 2 : column + 3] = 255
    return image


def test_every_option_of_the_experiment_is_under_test():
    assert set(ON) == set(OFF) == set(Augment.model_fields) - ELSEWHERE


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", SIZES)
def test_with_everything_off_an_image_stays_bit_for_bit(size, seed):
    image = noise(*size)
    assert torch.equal(changed(image, only(), seed), image)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ON)
def test_each_option_alone_changes_the_image_and_keeps_its_shape_and_type(name, seed):
    image = noise()
    before = image.clone()
    result = changed(image, only(**{name: ON[name]}), seed)
    assert (result.shape, result.dtype) == (image.shape, torch.uint8)
    assert not torch.equal(result, before)
    assert torch.equal(image, before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ON)
def test_each_option_takes_an_image_of_any_size(name, size):
    result = changed(noise(*size), only(**{name: ON[name]}))
    assert (result.shape, result.dtype) == ((3, *size), torch.uint8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_epoch_and_image_are_changed_alike_and_any_other_differently(seed):
    options, image = Augment(blur=0.5, hue=0.1, vflip=0.5), noise()
    one = changed(image, options, seed, 3, "a.jpg")
    assert torch.equal(one, changed(image, options, seed, 3, "a.jpg"))
    for other in ((seed, 4, "a.jpg"), (seed + 1, 3, "a.jpg"), (seed, 3, "b.jpg")):
        assert not torch.equal(one, changed(image, options, *other))


def test_draws_of_different_seeds_epochs_and_images_never_coincide():
    keys = [(seed, epoch, name) for seed in range(12) for epoch in range(12) for name in ("a", "b", "1/a", "")]
    assert len({generator(*key).integers(2**63) for key in keys}) == len(keys)


def test_a_draw_is_the_same_on_every_machine():
    assert generator(1, 2, "a.jpg").integers(1000, size=4).tolist() == [955, 279, 543, 626]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "axis"), [("hflip", 2), ("vflip", 1)])
def test_a_flip_of_probability_one_mirrors_exactly(name, axis, seed):
    image = noise()
    assert torch.equal(changed(image, only(**{name: 1}), seed), image.flip(axis))


@pytest.mark.parametrize("name", ["hflip", "vflip", "blur"])
def test_a_probability_is_how_often_it_happens(name):
    image = noise(8, 8)
    happened = [not torch.equal(changed(image, only(**{name: 0.25}), seed), image) for seed in range(200)]
    assert 0.16 < np.mean(happened) < 0.34


def test_a_shift_moves_everything_alike_up_to_its_share_of_each_side():
    image = spots((30, 45), (30, 75), height=61)
    moved = []
    for seed in range(40):
        result = changed(image, only(shift=0.2), seed)
        rows, columns = torch.where(result[0] > 200)
        halves = columns < columns.float().mean()
        for half, column in ((halves, 45), (~halves, 75)):
            moved.append((rows[half].float().mean() - 30, columns[half].float().mean() - column))
    down, right = np.array(moved).T.reshape(2, -1, 2).transpose(0, 2, 1)
    for shift, side in ((down, 61), (right, 121)):
        assert np.abs(shift[0] - shift[1]).max() < 1  # both squares
        assert np.abs(shift).max() <= 0.2 * side + 1
        assert shift.max() > 0.15 * side
        assert shift.min() < -0.15 * side


def test_a_shift_leaves_the_grey_of_padding_behind():
    shown = [changed(torch.full((3, 40, 40), 255, dtype=torch.uint8), only(shift=0.5), seed) for seed in SEEDS]
    assert all((image == 114).any() for image in shown)


def test_a_rotation_turns_about_the_middle_up_to_its_bound_either_way():
    angles = []
    for seed in range(40):
        image = changed(spots((50, 60), (50, 100)), only(rotate=30), seed)
        rows, columns = torch.where(image[0] > 200)
        at_middle = (rows - 50) ** 2 + (columns - 60) ** 2 < 100
        assert abs(rows[at_middle].float().mean() - 50) < 1
        assert abs(columns[at_middle].float().mean() - 60) < 1
        row, column = rows[~at_middle].float().mean() - 50, columns[~at_middle].float().mean() - 60
        assert abs(torch.hypot(row, column) - 40) < 1
        angles.append(float(torch.rad2deg(torch.atan2(row, column))))
    assert max(map(abs, angles)) <= 31
    assert max(angles) > 22
    assert min(angles) < -22


def test_a_zoom_magnifies_about_the_middle_within_its_bounds():
    scales = []
    for seed in range(40):
        rows, columns = torch.where(changed(spots((30, 60), (70, 60)), only(zoom=(0.5, 1.3)), seed)[0] > 200)
        upper = rows < rows.float().mean()
        scales.append(float(rows[~upper].float().mean() - rows[upper].float().mean()) / 40)
        assert abs(columns.float().mean() - 60) < 1
    assert min(scales) > 0.47
    assert max(scales) < 1.33
    assert min(scales) < 0.6
    assert max(scales) > 1.2


def colours(options, image):
    return np.array([changed(image, options, seed).float().mean((1, 2)).numpy() for seed in range(40)])


def flat(red, green, blue):
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].expand(3, 6, 6).clone()


def test_brightness_scales_up_to_its_bound_either_way():
    shades = colours(only(brightness=0.2), flat(100, 100, 100))
    assert shades.min() >= 79
    assert shades.max() <= 121
    assert shades.min() < 85
    assert shades.max() > 115


def test_contrast_stretches_about_the_mean_within_its_bound():
    image = flat(100, 100, 100)
    image[:, :, 3:] = 140
    spread = [
        float(result[0, 0, -1]) - float(result[0, 0, 0])
        for result in (changed(image, only(contrast=0.5), seed) for seed in range(40))
    ]
    assert min(spread) >= 19
    assert max(spread) <= 61
    assert min(spread) < 25
    assert max(spread) > 55
    assert np.abs(colours(only(contrast=0.5), image) - 120).max() <= 1


@pytest.mark.parametrize("options", [only(saturation=0.5), only(hue=0.5)], ids=["saturation", "hue"])
def test_saturation_and_hue_leave_grey_alone_and_change_colour(options):
    grey = flat(90, 90, 90)
    grey[:, :, 3:] = 180
    for seed in SEEDS:
        assert (changed(grey, options, seed).int() - grey).abs().max() <= 1
    assert np.ptp(colours(options, flat(200, 80, 40)), axis=0).max() > 20


def test_a_blur_smooths_and_keeps_the_brightness():
    image = noise(32, 32)
    for seed in range(20):
        result = changed(image, only(blur=1), seed).float()
        assert result.std() <= image.float().std() + 0.5
        assert abs(result.mean() - image.float().mean()) < 3


def test_all_options_together_keep_shape_and_type():
    result = changed(noise(50, 40), Augment(**ON))
    assert (result.shape, result.dtype) == ((3, 50, 40), torch.uint8)
