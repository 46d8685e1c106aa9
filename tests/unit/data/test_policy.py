"""Policies: torchvision's operations, drawn by our own generator, with boxes and masks moving along."""

from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from thaw.config.experiment import Augment
from thaw.data import policy
from thaw.data.augment import augment, generator
from thaw.data.labels import Boxes
from thaw.data.policy import OPERATIONS
from thaw.data.scene import Scene

SEEDS = range(6)
STILL = {"hflip": 0, "rotate": 0, "shift": 0, "zoom": (1, 1), "brightness": 0, "contrast": 0, "saturation": 0}
RAND = Augment(**STILL, policy="randaugment", policy_strength=0.6, policy_ops=4)
TRIVIAL = Augment(**STILL, policy="trivialaugment", policy_strength=0.5)
MOVING = ("shear x", "shear y", "shift x", "shift y", "rotate")
SHEARS = 4
"""The two shears, either way: torchvision's hold the corner of the image, ours its centre."""


def noise(height=24, width=32):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def rectangle():
    """Return a black picture with one white rectangle, its box and its mask."""
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    image[40:80, 60:100] = 255
    box = np.array([[60, 40, 100, 80]], dtype=np.float32)
    carried = {"things": Boxes(box, np.array([1])), "paint": (image[..., 0] > 0).astype(np.uint8)}
    return Scene.of(image, carried)


def changed(options, seed=0, epoch=0, sample_id="a.jpg", image=None):
    scene = Scene.of(noise() if image is None else image, {})
    return augment(scene, options, generator(seed, epoch, sample_id)).image


def amounts(one):
    """Return amounts of every strength that an operation may be asked for."""
    signs = (1, -1) if one.either_way else (1,)
    return [sign * amount for sign in signs for amount in (0.1 * one.usual, one.usual, one.wide)]


def both_ways(one, full):
    return {full, -full} if one.either_way else {full}


def alike(one, other):
    return (one[:, ::5, ::5].int() - other[:, ::5, ::5]).abs().float().mean() < 0.01


def theirs(transform, picture, draws):
    """Return the different results that torchvision comes to."""
    found = {}
    with torch.random.fork_rng(devices=[]):
        for seed in range(draws):
            torch.manual_seed(seed)
            result = transform(picture)
            found[result.numpy().tobytes()] = result
    return list(found.values())


@pytest.mark.parametrize("span", ["usual", "wide"])
def test_operations_are_torchvisions_but_that_shears_hold_the_centre(span):
    how = {"fill": 114, "interpolation": v2.InterpolationMode.BILINEAR}
    randaugment = v2.RandAugment(num_ops=1, magnitude=30, **how)
    trivialaugment = v2.TrivialAugmentWide(num_magnitude_bins=2, **how)
    scene = Scene.of(noise(224, 224), {})
    expected = theirs(randaugment if span == "usual" else trivialaugment, scene.image, 250)
    found = [
        one.change(scene, amount).image
        for name, one in OPERATIONS.items()
        if "shear" not in name
        for amount in both_ways(one, getattr(one, span))
    ]
    assert sum(not any(alike(one, own) for own in found) for one in expected) == SHEARS
    assert all(any(alike(own, one) for one in expected) for own in found)


@pytest.mark.parametrize("name", OPERATIONS)
def test_box_and_mask_stay_on_what_they_mark(name):
    for amount in amounts(OPERATIONS[name]):
        before = rectangle()
        after = OPERATIONS[name].change(before, amount)
        [box], mask = after.boxes["things"].numpy(), after.masks["paint"].numpy()
        if name not in MOVING:
            assert np.array_equal(box, before.boxes["things"].numpy()[0])
            assert np.array_equal(mask, before.masks["paint"].numpy())
            continue
        bright = after.image.float().mean(dim=0).numpy() > 200
        rows, columns = np.nonzero(bright)
        assert np.mean((mask == 1) == bright) > 0.98
        cut = np.clip(box, 0, [160, 120, 160, 120])
        assert np.abs(cut - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).max() <= 2.5


@pytest.mark.parametrize("name", MOVING)
def test_what_comes_into_view_is_grey_and_has_no_label(name):
    after = OPERATIONS[name].change(rectangle(), 0.2 if name != "rotate" else 20)
    outside = after.masks["paint"].numpy() == 255
    assert outside.any()
    assert (after.image[:, outside].float().mean() - 114).abs() < 5


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40), (40, 1), (23, 31)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_an_image_of_any_size_and_keeps_shape_and_type(name, size):
    for amount in amounts(OPERATIONS[name]):
        result = OPERATIONS[name].change(Scene.of(noise(*size), {}), amount).image
        assert (result.shape, result.dtype) == ((3, *size), torch.uint8)


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.usual])
def test_an_operation_at_no_strength_changes_nothing(name):
    scene = Scene.of(noise(), {})
    assert torch.equal(OPERATIONS[name].change(scene, 0.0).image, scene.image)


@pytest.mark.parametrize("options", [RAND, TRIVIAL], ids=["rand", "trivial"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_epoch_and_image_are_changed_alike_whatever_the_global_generators_hold(seed, options):
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        before = torch.get_rng_state()
        found.append(changed(options, seed, 3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*found)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_epoch_and_image_draws_anew(seed):
    first = policy.drawn(RAND, generator(seed, 3, "a"))
    for other in ((seed, 4, "a"), (seed + 1, 3, "a"), (seed, 3, "b")):
        assert policy.drawn(RAND, generator(*other)) != first


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_policy_nothing_is_drawn(seed):
    one, other = generator(seed, 0, "a"), generator(seed, 0, "a")
    assert policy.drawn(Augment(policy_strength=1, policy_ops=9), one) == []
    assert one.random() == other.random()


def test_randaugment_draws_so_many_at_its_strength_each_as_often_and_either_way():
    drawn = [policy.drawn(RAND, generator(seed, 0, "a")) for seed in range(500)]
    assert {len(ops) for ops in drawn} == {4}
    counts = Counter(name for ops in drawn for name, _ in ops)
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) < 1.5 * min(counts.values())
    for name, one in OPERATIONS.items():
        found = Counter(amount for ops in drawn for what, amount in ops if what == name)
        assert set(found) == both_ways(one, 0.6 * one.usual)
        assert max(found.values()) < 2 * min(found.values())


def test_trivialaugment_draws_one_at_any_strength_up_to_its_own():
    drawn = [policy.drawn(TRIVIAL, generator(seed, 0, "a")) for seed in range(2000)]
    assert {len(ops) for ops in drawn} == {1}
    assert {name for [(name, _)] in drawn} == set(OPERATIONS)
    for name, one in OPERATIONS.items():
        if not one.wide:
            continue
        shares = np.array([amount / one.wide for [(what, amount)] in drawn if what == name])
        assert 0.45 < shares.max() <= 0.5
        assert (-0.5 <= shares.min() < -0.45) if one.either_way else (0 <= shares.min() < 0.05)
        assert 0.2 < np.abs(shares).mean() < 0.3


def test_the_policy_comes_after_all_other_changes():
    other = RAND.model_copy(update={"hflip": 1.0, "policy_ops": 1})
    random = generator(5, 0, "a")
    flipped = augment(Scene.of(noise(), {}), other.model_copy(update={"policy": "none"}), random)
    wanted = policy.applied(flipped, other, random).image
    assert torch.equal(changed(other, 5, 0, "a"), wanted)
    assert not torch.equal(wanted, flipped.image)
