"""Mixtures: what they show is what their targets say."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from thaw.config import load
from thaw.config.experiment import Augment
from thaw.data import mix
from thaw.data.augment import generator
from thaw.data.labels import Boxes, LabelSchema
from thaw.data.scene import Scene
from thaw.errors import ConfigError

SEEDS = range(12)


def plain(value, size=32):
    return torch.full((3, size, size), value, dtype=torch.uint8)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_the_share_told_is_the_share_shown(options, seed):
    pixels, share = mix.blended(plain(200), plain(100), Augment(**options), generator(seed, 0, "a"))
    assert 0 <= share <= 1
    assert float(pixels.float().mean()) == pytest.approx(100 + 100 * share, abs=0.6)


def test_both_kinds_of_mixture_are_used_where_both_are_on():
    options = Augment(mixup=1, cutmix=1)
    values = [mix.blended(plain(200), plain(100), options, generator(seed, 0, "a"))[0] for seed in range(40)]
    patched = sum(set(one.unique().tolist()) <= {100, 200} for one in values)
    assert 8 < patched < 32


def test_targets_are_shares_of_classes_and_missing_where_either_is():
    one, other = np.array([0, 1, -1, 2]), np.array([1, 1, 0, -1])
    mixed = mix.blended_targets("class", 3, one, other, [0.75, 0.5, 0.5, 0.5])
    assert mixed.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [-1, -1, -1], [-1, -1, -1]]
    sets = LabelSchema(kind="classes", names=("a", "b"))
    one, other = sets.targets([(0,), None], 0), sets.targets([(0, 1), (1,)], 0)
    assert mix.blended_targets("classes", 2, one, other, [0.75, 0.5]).tolist() == [[1, 0.25], [-1, -1]]


def things(value, boxes, labels, size=(60, 80)):
    image = np.full((*size, 3), 10, dtype=np.uint8)
    mask = np.zeros(size, dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1], mask[y0:y1, x0:x1] = value, value
    found = Boxes(np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(labels, dtype=np.int64))
    return Scene.of(image, {"things": found, "paint": mask})


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_pasted_brings_its_pixels_its_box_and_its_mask(seed):
    before = things(100, [(5, 5, 15, 15)], [0])
    after = mix.pasted(before, things(200, [(30, 20, 50, 32)], [1]), generator(seed, 0, "a"))
    told, boxes = after.annotations["things"], after.boxes["things"]
    assert np.array_equal(told.boxes, boxes.numpy())
    assert told.labels[-1] == 1
    x0, y0, x1, y1 = (int(edge) for edge in told.boxes[-1])
    assert (x1 - x0, y1 - y0) == (20, 12)
    assert (after.image[:, y0:y1, x0:x1] == 200).all()
    assert (after.masks["paint"][y0:y1, x0:x1] == 200).all()
    assert int((after.image == 200).sum()) == 3 * 20 * 12
    hidden = not (after.image == 100).any()
    assert len(told.labels) == (1 if hidden else 2) or (after.image == 100).sum() < 3 * 30


@pytest.mark.parametrize("seed", SEEDS)
def test_a_box_that_is_covered_is_gone(seed):
    after = mix.pasted(
        things(100, [(30, 20, 40, 30)], [0]), things(200, [(0, 0, 80, 60)], [1]), generator(seed, 0, "a")
    )
    assert after.annotations["things"].labels.tolist() == [1]


def test_nothing_is_pasted_from_an_image_that_lacks_things_or_labels():
    before = things(100, [(5, 5, 15, 15)], [0])
    assert mix.pasted(before, things(200, [], []), generator(0, 0, "a")) is before
    unlabelled = Scene.of(np.zeros((60, 80, 3), dtype=np.uint8), {"things": None, "paint": None})
    assert mix.pasted(before, unlabelled, generator(0, 0, "a")) is before
    huge = things(200, [(0, 0, 300, 200)], [1], size=(200, 300))
    assert mix.pasted(before, huge, generator(0, 0, "a")) is before


@pytest.mark.parametrize(
    ("task", "option", "named"),
    [
        ("segmentation", "mixup", "mixup and cutmix"),
        ("detection", "cutmix", "mixup and cutmix"),
        ("classification", "copy_paste", "copy_paste"),
        ("multilabel", "copy_paste", "copy_paste"),
    ],
)
def test_what_cannot_be_mixed_is_refused(task, option, named):
    values = {
        "name": "x",
        "data": {"source": {"type": "boards"}, "augment": {option: 0.5}},
        "tasks": {"mine": {"type": task}},
    }
    with pytest.raises(ConfigError, match=rf"data\.augment.*{named}.*|{named}.*data\.augment.*mine"):
        load.parse(values, "x.yaml")


def test_a_thing_that_its_image_shows_in_part_alone_is_not_pasted_without_its_box():
    before, other = things(100, [(5, 5, 15, 15)], [0]), things(200, [(60, 20, 80, 32)], [1])
    half = torch.tensor([[60.0, 20, 100, 32]])  # as after a shift: half of it is outside
    other = Scene(other.image, {"things": tv_tensors.wrap(half, like=other.boxes["things"])}, {}, other.annotations)
    before = Scene(before.image, before.boxes, {}, before.annotations)
    assert mix.pasted(before, other, generator(0, 0, "a")) is before


def test_pasting_needs_a_task_with_boxes():
    values = {
        "name": "x",
        "data": {"source": {"type": "boards"}, "augment": {"copy_paste": 0.5}},
        "tasks": {"mine": {"type": "segmentation"}},
    }
    with pytest.raises(ConfigError, match=r"copy_paste.*no task has boxes"):
        load.parse(values, "x.yaml")
