"""Settings follow from what was seen, by rules that can be read off here."""

import pytest

from thaw.starting.settings import settings, task_options, training_images
from thaw.starting.survey import Column, Seen
from thaw.starting.tasks import Choice


def choice(kind="class", name="label", **counts):
    return Choice(name, Column(name, kind, {None: 1}, counts or {"a": 50, "b": 50}))


def made(*tasks, images=2000, sides=((300, 300),), **seen):
    """Return the settings by place, and why each is so."""
    found = settings(Seen(images, seen.pop("splits", {None: images}), {}, sides, **seen), tasks or [choice()])
    return {one.place: one.value for one in found}, {one.place: one.why for one in found}


@pytest.mark.parametrize(
    ("sides", "kind", "size", "fit"),
    [
        ((300, 320), "class", 224, "stretch"),
        ((300, 400), "class", 224, "crop"),
        ((300, 400), "boxes", 224, "letterbox"),
        ((300, 600), "class", 224, "letterbox"),
        ((170, 180), "class", 160, "stretch"),
        ((32, 32), "class", 96, "stretch"),
        ((2000, 3000), "mask", 224, "letterbox"),
        ((180, 250), "class", 160, "crop"),
        ((180, 250), "mask", 224, "letterbox"),
    ],
)
def test_the_input_follows_from_the_size_and_shape_of_images(sides, kind, size, fit):
    value, why = made(choice(kind), sides=[sides] * 3)
    assert value["data.image"] == {"size": size, "fit": fit}
    assert f"about {sides[1]} x {sides[0]} pixels" in why["data.image"]


@pytest.mark.parametrize(
    ("boxes", "sides", "size"),
    [
        ({"cell": [0.3] * 9}, (480, 640), 224),
        ({"cell": [0.3] * 9, "platelet": [0.065] * 5}, (480, 640), 320),
        ({"cell": [0.3] * 9, "platelet": [0.065] * 4}, (480, 640), 224),
        ({"speck": [0.001] * 9}, (3000, 4000), 512),
        ({"speck": [0.01] * 9}, (200, 200), 192),
    ],
)
def test_small_boxes_ask_for_a_larger_input_within_the_images_and_bounds(boxes, sides, size):
    value, _ = made(choice("boxes"), sides=[sides], boxes=boxes)
    assert value["data.image"]["size"] == size


@pytest.mark.parametrize(
    ("images", "kind", "plan", "epochs"),
    [
        (60, "class", "head_only", 24),
        (80, "class", "gradual", 24),
        (1400, "class", "gradual", 24),
        (3000, "class", "layer_decay", 14),
        (10**6, "class", "layer_decay", 5),
        (60, "boxes", "head_only", 24),
        (3000, "mask", "phases", 14),
    ],
)
def test_the_plan_follows_from_how_many_images_train(images, kind, plan, epochs):
    value, _ = made(choice(kind), images=images)
    if plan == "phases":
        assert sum(phase["epochs"] for phase in value["finetune.phases"]) == epochs
        assert [phase["depth"] for phase in value["finetune.phases"]] == [0, "all"]
    else:
        assert value["finetune.recipe"] == {"name": plan, "epochs": epochs}


@pytest.mark.parametrize(("images", "dropout"), [(60, 0.4), (600, 0.3), (3000, None)])
def test_small_sets_are_held_back_from_learning_by_heart(images, dropout):
    value, _ = made(images=images)
    assert value.get("model.dropout") == dropout
    assert ("policy" in value["data.augment"]) == (dropout is not None)
    assert ("label_smoothing" in task_options(choice(), training_images(Seen(images, {None: images}, {})))) == (
        dropout is not None
    )
    assert "policy" not in made(choice("boxes"), images=images)[0]["data.augment"]


def test_training_images_are_what_the_other_parts_leave():
    assert training_images(Seen(100, {None: 100}, {})) == 70
    assert training_images(Seen(100, {"train": 60, "test": 40}, {})) == 51
    assert training_images(Seen(100, {"train": 60, "val": 20, "test": 20}, {})) == 60


@pytest.mark.parametrize(
    ("splits", "value", "words"),
    [
        ({None: 100}, {"val": 0.15, "test": 0.15}, "no split is stated"),
        ({"test": 30, "train": 70}, {"val": 0.15}, "stated: 70 train, 30 test; taken out of train: val"),
        ({"train": 60, "val": 20, "test": 20}, {"given": True}, "as stated: 60 train, 20 val, 20 test"),
        ({"train": 60, "val": 20, "test": 10, None: 10}, {"given": True}, "10 images without a stated split train"),
    ],
)
def test_the_split_is_as_stated_and_made_where_it_is_not(splits, value, words):
    found, why = made(splits=splits)
    assert found["data.split"] == value
    assert words in why["data.split"]


@pytest.mark.parametrize(
    ("tasks", "seen", "place", "value"),
    [
        ([choice()], {}, "hflip", 0.5),
        ([choice(**{f"{digit}": 9 for digit in range(10)})], {}, "hflip", 0),
        ([choice(left_arm=9, right_arm=9)], {}, "hflip", 0),
        ([choice(**{"0": 9, "1": 9})], {}, "hflip", 0.5),
        ([choice()], {}, "rotate", 10),
        ([choice("boxes")], {}, "rotate", 0),
        ([choice()], {"grey": True}, "saturation", 0),
        ([choice()], {"grey": False}, "saturation", 0.2),
    ],
)
def test_changes_that_would_change_what_is_seen_are_off(tasks, seen, place, value):
    assert made(*tasks, **seen)[0]["data.augment"][place] == value


@pytest.mark.parametrize(
    ("images", "kind", "boxes", "batch"),
    [(3000, "class", {}, 32), (300, "class", {}, 16), (20, "class", {}, 4), (3000, "boxes", {"a": [0.05] * 9}, 8)],
)
def test_batches_leave_ten_steps_an_epoch_and_fit_into_memory(images, kind, boxes, batch):
    assert made(choice(kind), images=images, boxes=boxes, sides=[(600, 600)])[0]["train.batch"] == batch


def test_uneven_classes_are_told_of_beside_the_setting_that_evens_them_out():
    value, why = made(choice(a=100, b=10))
    assert value["train.sampling"] == "uniform"
    assert "100 images of a, 10 of b" in why["train.sampling"]
    assert "train.sampling" not in made(choice(a=99, b=10))[0]
