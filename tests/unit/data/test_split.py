"""Splits: a pure function of ids, labels, groups and the seed, that keeps shares, groups and given parts."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from thaw.config.experiment import Split
from thaw.data.split import SPLITS, Item, assign
from thaw.errors import DataError

SEEDS = range(6)


def loose(count, stratum=None, prefix="image"):
    """Return images that belong to no group."""
    return [Item(f"{prefix}_{index}", stratum, None, None) for index in range(count)]


def grouped(seed, count=300, largest=7):
    """Return images in groups of one to ``largest``, whose strata differ within a group."""
    draw, found = random.Random(seed), []
    while len(found) < count:
        group = f"group {len(found)}"
        found += [
            Item(f"{group}/{place}", draw.choice("abc"), group, None) for place in range(draw.randint(1, largest))
        ]
    return found


def sizes(result):
    return Counter(result.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_listing_changes_nothing(seed):
    items = (
        loose(40, "a", "a")
        + loose(60, "b", "b")
        + [Item(f"g{index}", "a", f"group {index // 3}", None) for index in range(30)]
    )
    shuffled = random.Random(seed).sample(items, len(items))
    assert assign(shuffled, Split(), seed) == assign(items, Split(), seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_listing_changes_nothing_where_groups_mix_strata(seed):
    items = grouped(seed)
    shuffled = random.Random(seed).sample(items, len(items))
    assert assign(shuffled, Split(), seed) == assign(items, Split(), seed)


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    items = loose(100)
    results = [assign(items, Split(), seed) for seed in SEEDS]
    assert len({tuple(sorted(result.items())) for result in results}) == len(SEEDS)
    assert results == [assign(items, Split(), seed) for seed in SEEDS]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("val", "test"), [(0.15, 0.15), (0.3, 0.1), (0.01, 0.5)])
def test_every_image_gets_one_part_and_shares_hold_within_rounding(seed, val, test):
    items = loose(997)
    result = assign(items, Split(val=val, test=test), seed)
    assert result.keys() == {item.id for item in items}
    assert abs(sizes(result)["val"] - 997 * val) <= 1
    assert abs(sizes(result)["test"] - 997 * test) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_keeps_its_shares_within_rounding(seed):
    classes = {"rare": 11, "some": 60, "most": 400, None: 33}
    items = [item for name, count in classes.items() for item in loose(count, name, str(name))]
    result = assign(items, Split(val=0.2, test=0.1), seed)
    for name, count in classes.items():
        found = Counter(result[item.id] for item in items if item.stratum == name)
        assert abs(found["val"] - count * 0.2) <= 1
        assert abs(found["test"] - count * 0.1) <= 1


@pytest.mark.parametrize("each", [3, 4, 10])
def test_many_small_classes_still_make_the_shares_that_were_asked_for(each):
    items = [item for index in range(60) for item in loose(each, f"class {index}", f"class_{index}")]
    found = sizes(assign(items, Split(val=0.15, test=0.15), 0))
    assert abs(found["val"] / len(items) - 0.15) <= 0.03
    assert abs(found["test"] / len(items) - 0.15) <= 0.03


def test_a_class_of_one_image_trains():
    items = [*loose(50, "common", "common"), Item("lonely", "rare", None, None)]
    assert {assign(items, Split(val=0.4, test=0.4), seed)["lonely"] for seed in SEEDS} == {"train"}


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_stay_together_and_shares_hold_within_a_group(seed):
    items = [replace(item, stratum=None) for item in grouped(seed)]
    result = assign(items, Split(val=0.2, test=0.2), seed)
    for group in {item.group for item in items}:
        assert len({result[item.id] for item in items if item.group == group}) == 1
    for side in ("val", "test"):
        assert abs(sizes(result)[side] - 0.2 * len(items)) <= 7


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_stay_together_where_they_mix_strata(seed):
    items = grouped(seed)
    result = assign(items, Split(), seed)
    sides = {(item.group, result[item.id]) for item in items}
    assert len(sides) == len({item.group for item in items})


def test_a_group_may_carry_the_name_of_an_image():
    items = [*loose(20), *(Item(f"x{index}", None, "image_1", None) for index in range(20))]
    result = assign(items, Split(), 0)
    assert len({result[f"x{index}"] for index in range(20)}) == 1
    assert set(result.values()) == set(SPLITS)


@pytest.mark.parametrize("seed", SEEDS)
def test_images_that_are_added_to_a_class_leave_nearly_all_others_where_they_are(seed):
    items = [item for index in range(60) for item in loose(11, f"class {index}", f"class_{index}")]
    before = assign(items, Split(), seed)
    after = assign([*items, *loose(3, "class 7", "new")], Split(), seed)
    moved = {item.stratum for item in items if before[item.id] != after[item.id]}
    assert sum(before[item.id] != after[item.id] for item in items) <= 6
    assert len(moved) <= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_of_few_large_groups_make_the_shares_that_were_asked_for_together(seed):
    items = [
        Item(f"{index}/{place}", f"class {index // 3}", f"group {index}", None)
        for index in range(180)
        for place in range(10)
    ]
    found = sizes(assign(items, Split(val=0.15, test=0.15), seed))
    assert abs(found["val"] - 0.15 * len(items)) <= 10
    assert abs(found["test"] - 0.15 * len(items)) <= 10


def stated(train=0, val=0, test=0, unstated=0):
    return [
        Item(f"{side}_{index}", "ab"[index % 2], None, side)
        for side, count in (("train", train), ("val", val), ("test", test), (None, unstated))
        for index in range(count)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_split_that_is_given_whole_is_kept_whole(seed):
    items = stated(5, 90, 5)
    assert assign(items, Split(), seed) == {item.id: item.given for item in items}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("given", "missing"), [("test", "val"), ("val", "test")])
def test_a_missing_part_comes_out_of_train_alone(seed, given, missing):
    items = stated(100, **{given: 40})
    result = assign(items, Split(val=0.2, test=0.2), seed)
    assert {item.id for item in items if item.given == given} == {
        image for image, side in result.items() if side == given
    }
    assert sizes(result) == {given: 40, missing: 20, "train": 80}


def test_images_without_a_stated_part_train_and_may_be_taken_for_a_missing_one():
    result = assign(stated(0, 20, 20, unstated=60), Split(), 0)
    assert {side for image, side in result.items() if image.startswith("None")} == {"train"}
    result = assign(stated(10, 0, 20, unstated=90), Split(val=0.2), 0)
    assert sizes(result) == {"train": 80, "val": 20, "test": 20}


def test_a_given_split_can_be_set_aside():
    items = stated(100, 50, 50)
    result = assign(items, Split(given=False, val=0.1, test=0.1), 0)
    assert sizes(result) == {"train": 160, "val": 20, "test": 20}
    assert result == assign([replace(item, given=None) for item in items], Split(val=0.1, test=0.1), 0)


def test_an_unknown_word_for_a_split_is_refused_unless_splits_are_set_aside():
    items = [*stated(20, 5, 5), Item("x", None, None, "holdout")]
    with pytest.raises(DataError, match="the source says 'holdout'; only train, val, test are splits"):
        assign(items, Split(), 0)
    assert len(assign(items, Split(given=False), 0)) == 31


@pytest.mark.parametrize("other", ["val", "test", None])
def test_a_group_that_is_stated_on_two_sides_is_refused(other):
    side = "val" if other is None else "train"
    items = [*stated(20, 5, 5), Item("x", None, "patient 7", side), Item("y", None, "patient 7", other)]
    with pytest.raises(DataError, match="group 'patient 7' is in .* and in .*; its images would leak"):
        assign(items, Split(), 0)


@pytest.mark.parametrize(
    ("items", "empty"),
    [
        (loose(2), "val and test"),
        (loose(1), "val and test"),
        ([], "train and val and test"),
        (stated(val=5, test=5), "train"),
        (stated(train=1, test=3), "val"),
        ([Item(str(index), None, "one group", None) for index in range(50)], "val and test"),
    ],
)
def test_an_empty_part_is_refused_by_its_name(items, empty):
    with pytest.raises(DataError, match=f"leave {empty} empty"):
        assign(items, Split(), 0)
