"""Feeds: a batch is a pure function of the step, and the same set of images however many workers share it."""

import contextlib
import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from thaw.config.experiment import Augment, Limits
from thaw.data import dataset
from thaw.data.feed import Feed
from thaw.data.labels import LabelSchema
from thaw.data.order import drawn, even_chances, shuffled
from thaw.data.preprocess import Preprocess

SEEDS = range(6)
WORKERS = (1, 2, 4)
LABELS = {
    "kind": LabelSchema(kind="class", names=("a", "b", "c")),
    "tags": LabelSchema(kind="classes", names=("x", "y")),
}
SHARDS = (5, 1, 8, 9)
TOTAL = sum(SHARDS)
KINDS = [index % 3 if index % 5 else None for index in range(TOTAL)]
TAGS = [(index % 2,) if index % 7 else None for index in range(TOTAL)]


def feed(images=None, training=True, batch=8, worker=0, workers=1, seed=0):
    return Feed(
        shard_rows=SHARDS if images is None else (images,),
        labels=LABELS,
        preprocess=Preprocess(size=8, fit="crop"),
        limits=Limits(),
        batch=batch,
        augment=Augment() if training else None,
        least_box=0.3,
        seed=seed,
        worker=worker,
        workers=workers,
    )


def together(one, workers):
    """Return the feeds of all workers."""
    return [replace(one, worker=worker, workers=workers) for worker in range(workers)]


def all_rows(feeds, step):
    return [int(row) for one in feeds for row in one.rows(step)]


@pytest.fixture(scope="module")
def shards():
    """Four shards of little pictures, each unlike all others."""
    random, made, start = np.random.default_rng(0), [], 0
    for rows in SHARDS:
        images = []
        for _ in range(rows):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(buffer, "PNG")
            images.append(buffer.getvalue())
        where = slice(start, start + rows)
        ids = [f"image {index}" for index in range(where.start, where.stop)]
        made.append(dataset.table(ids, images, [(12, 9)] * rows, {"kind": KINDS[where], "tags": TAGS[where]}, LABELS))
        start += rows
    return made


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("images", [1, 5, 23, 24, 25, 48])
def test_reading_sees_every_image_exactly_once(images, workers):
    one = feed(images, training=False, batch=24)
    feeds = together(one, workers)
    seen = [row for step in range(one.epoch_steps) for row in all_rows(feeds, step)]
    assert sorted(seen) == list(range(images))
    assert {each.epoch_steps for each in feeds} == {-(-images // 24)}


def test_reading_alone_keeps_the_order_and_never_exceeds_the_batch():
    one = feed(23, training=False)
    assert [len(one.rows(step)) for step in range(3)] == [8, 8, 7]
    assert [row for step in range(3) for row in one.rows(step)] == list(range(23))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("images", [3, 23, 24])
def test_a_step_of_the_whole_group_is_the_same_images_for_any_number_of_workers(images, workers, seed):
    one = feed(images, seed=seed)
    for step in range(3 * one.epoch_steps):
        shares = [each.rows(step) for each in together(one, workers)]
        assert {len(share) for share in shares} == {8 // workers}
        assert Counter(all_rows(together(one, workers), step)) == Counter(one.rows(step).tolist())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("images", [8, 23, 24, 100])
def test_an_epoch_of_training_sees_no_image_twice_and_leaves_out_less_than_a_batch(images, seed):
    one = feed(images, seed=seed)
    assert one.epoch_steps == images // 8
    for epoch in range(3):
        steps = range(epoch * one.epoch_steps, (epoch + 1) * one.epoch_steps)
        seen = [row for step in steps for row in one.rows(step).tolist()]
        assert seen == shuffled(seed, epoch, images)[: len(seen)].tolist()
        assert len(set(seen)) == len(seen) == images - images % 8
        assert set(seen) <= set(range(images))


def test_what_one_epoch_leaves_out_another_sees():
    one = feed(23)
    left_out = [
        set(range(23)) - {row for step in range(2) for row in one.rows(2 * epoch + step)} for epoch in range(20)
    ]
    assert all(len(left) == 7 for left in left_out)
    assert not set.intersection(*left_out)


@pytest.mark.parametrize("images", [1, 3, 5, 7])
@pytest.mark.parametrize("workers", WORKERS)
def test_fewer_images_than_a_batch_fill_it_by_turns(images, workers):
    one = feed(images)
    assert one.epoch_steps == 1
    for step in range(3):
        found = Counter(all_rows(together(one, workers), step))
        assert sum(found.values()) == 8
        assert found.keys() == set(range(images))
        assert max(found.values()) - min(found.values()) <= 1


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = {tuple(shuffled(seed, epoch, 50)) for seed in SEEDS for epoch in range(6)}
    assert len(orders) == 36
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_the_same_seed_is_the_same_training():
    first = [feed(23, seed=3).rows(step).tolist() for step in range(10)]
    backwards = [feed(23, seed=3).rows(step).tolist() for step in reversed(range(10))]
    assert first == backwards[::-1]


def test_a_batch_has_the_shapes_types_and_targets_of_its_images(shards):
    one = feed(training=False)
    batch = one.load(1, shards.__getitem__)
    rows = one.rows(1)
    assert batch.keys() == {"pixels", "target.kind", "target.tags"}
    assert (batch["pixels"].shape, batch["pixels"].dtype) == ((8, 3, 8, 8), np.uint8)
    assert batch["target.kind"].dtype == batch["target.tags"].dtype == np.int64
    assert batch["target.kind"].tolist() == [-1 if KINDS[row] is None else KINDS[row] for row in rows]
    expected = [[-1, -1] if TAGS[row] is None else [int(TAGS[row] == (place,)) for place in (0, 1)] for row in rows]
    assert batch["target.tags"].tolist() == expected


def test_only_the_shards_that_hold_the_batch_are_asked_for(shards):
    asked = []

    def shard(place):
        asked.append(place)
        return shards[place]

    feed(training=False, batch=5).load(0, shard)
    assert set(asked) == {0}
    feed(training=False, batch=5).load(1, shard)
    assert set(asked) == {0, 1, 2}


def test_a_row_is_the_image_of_that_place_over_all_shards(shards):
    one = feed(training=False, batch=TOTAL)
    pixels = one.load(0, shards.__getitem__)["pixels"]
    row = 0
    for shard in shards:
        for place in range(shard.num_rows):
            image = np.asarray(Image.open(io.BytesIO(dataset.encoded(shard, place)[1])))
            alone = Feed((1,), {}, one.preprocess, Limits(), 1, None, 0.3, 0).load(
                0, lambda _, s=shard, p=place: s.slice(p, 1)
            )
            assert np.array_equal(pixels[row], alone["pixels"][0])
            assert image.shape == (9, 12, 3)
            row += 1
    assert len({one.tobytes() for one in pixels}) == TOTAL


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("workers", [2, 4])
def test_the_pixels_of_an_image_do_not_depend_on_how_many_workers_there_are(training, workers, shards):
    one = feed(training=training)
    for step in range(one.epoch_steps + 1 if training else one.epoch_steps - 1):
        found, alone = {}, {}
        for each in together(one, workers):
            pixels = each.load(step, shards.__getitem__)["pixels"]
            found |= dict(zip(each.rows(step).tolist(), pixels, strict=True))
        if training:
            alone = dict(zip(one.rows(step).tolist(), one.load(step, shards.__getitem__)["pixels"], strict=True))
            assert found.keys() == alone.keys()
            assert all(np.array_equal(found[row], alone[row]) for row in found)
        else:
            everything = replace(one, batch=TOTAL).load(0, shards.__getitem__)["pixels"]
            assert all(np.array_equal(pixels, everything[row]) for row, pixels in found.items())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_continues_with_exactly_the_batch_that_is_due(seed, shards):
    went_on = [feed(seed=seed).load(step, shards.__getitem__) for step in (2, 3, 4)]
    restarted = feed(seed=seed).load(4, shards.__getitem__)
    assert all(np.array_equal(restarted[key], went_on[2][key]) for key in restarted)
    assert not np.array_equal(went_on[2]["pixels"], went_on[1]["pixels"])


def test_an_image_is_changed_anew_in_every_epoch_but_not_when_only_read(shards):
    one = feed(batch=TOTAL)
    first, second = (
        dict(zip(one.rows(step).tolist(), one.load(step, shards.__getitem__)["pixels"], strict=True)) for step in (0, 1)
    )
    assert all(not np.array_equal(first[row], second[row]) for row in first)
    still = feed(training=False, batch=TOTAL)
    again = [still.load(step, shards.__getitem__)["pixels"] for step in (0, 1)]
    assert np.array_equal(*again)


@pytest.mark.parametrize("training", [True, False])
def test_targets_stay_with_their_images(training, shards):
    one = feed(training=training)
    for step in range(one.epoch_steps):
        expected = [-1 if KINDS[row] is None else KINDS[row] for row in one.rows(step)]
        assert one.load(step, shards.__getitem__)["target.kind"].tolist() == expected


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_for_which_no_image_is_left_reads_an_empty_batch(workers, shards):
    one = replace(feed(training=False, batch=4), shard_rows=(5,))
    last = together(one, workers)[-1]
    assert len(last.rows(1)) == 0
    batch = last.load(1, shards.__getitem__)
    assert {key: value.shape for key, value in batch.items()} == {
        "pixels": (0, 3, 8, 8),
        "target.kind": (0,),
        "target.tags": (0, 2),
    }
    assert batch["pixels"].dtype == np.uint8


def test_what_is_done_to_a_batch_does_not_reach_the_next():
    one = feed(24)
    before = one.rows(0).copy()
    with contextlib.suppress(ValueError):  # rows that cannot be written to are as good
        one.rows(0)[:] = 0
    assert np.array_equal(one.rows(0), before)


def test_images_are_drawn_by_their_chances_and_changed_anew_each_time(shards):
    chances = np.full(TOTAL, 0.1 / (TOTAL - 1))
    chances[3] = 0.9
    one = replace(feed(batch=8), chances=chances)
    counts = Counter(int(row) for step in range(30) for row in one.rows(step))
    assert 0.8 < counts[3] / 240 < 0.97
    pixels = one.load(0, shards.__getitem__)["pixels"][one.rows(0) == 3]
    assert len(pixels) > 3
    assert len({picture.tobytes() for picture in pixels}) == len(pixels)


@pytest.mark.parametrize("workers", [2, 4])
def test_drawn_images_do_not_depend_on_how_many_workers_there_are(shards, workers):
    chances = np.arange(1, TOTAL + 1) / (TOTAL * (TOTAL + 1) / 2)
    one = replace(feed(batch=8), chances=chances)
    whole = one.load(5, shards.__getitem__)["pixels"]
    for place, part in enumerate(together(one, workers)):
        assert np.array_equal(part.load(5, shards.__getitem__)["pixels"], whole[place::workers])


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}])
@pytest.mark.parametrize("workers", [2, 4])
def test_mixtures_do_not_depend_on_how_many_workers_there_are(shards, workers, options):
    one = replace(feed(batch=8), augment=Augment(**options))
    whole = one.load(1, shards.__getitem__)
    assert whole["target.kind"].shape == (8, 3)
    for place, part in enumerate(together(one, workers)):
        found = part.load(1, shards.__getitem__)
        for name, values in whole.items():
            assert np.array_equal(found[name], values[place::workers])


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_what_is_mixed_in_is_drawn_by_the_same_chances(shards, options):
    labelled = np.array([kind is not None for kind in KINDS])
    one = replace(feed(batch=8), augment=Augment(**options), chances=labelled / labelled.sum())
    assert all((one.load(step, shards.__getitem__)["target.kind"] >= 0).all() for step in range(6))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_image_is_drawn_as_often_as_its_chance_has_it_within_one(seed):
    chances = np.random.default_rng(seed).dirichlet(np.full(50, 0.5))
    chances[[7, 49]] = 0
    chances /= chances.sum()
    for epoch in range(4):
        order = drawn(seed, epoch, chances)
        assert len(order) == 50
        assert (np.abs(np.bincount(order, minlength=50) - 50 * chances) < 1 + 1e-9).all()
        assert not {7, 49} & set(order.tolist())
    often = np.mean([np.bincount(drawn(seed, epoch, chances), minlength=50) for epoch in range(400)], axis=0)
    assert np.abs(often - 50 * chances).max() < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_drawn_images_is_random_anew_in_each_epoch(seed):
    chances = np.full(40, 1 / 40)
    orders = [drawn(seed, epoch, chances) for epoch in range(3)]
    assert np.array_equal(orders[1], drawn(seed, 1, chances))
    assert all(not np.array_equal(orders[0], other) for other in (orders[1], orders[2], np.arange(40)))
    rare = np.where(np.arange(40) < 3, 0.2, 0.4 / 37)
    assert 0.2 < np.mean([np.flatnonzero(drawn(seed, epoch, rare) < 3).mean() / 39 for epoch in range(9)]) < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_of_any_size_are_drawn_equally_often(seed):
    classes = np.random.default_rng(seed).permutation(np.repeat([0, 2, 5, -1], [70, 3, 17, 10]))
    chances = even_chances(classes)
    assert chances.sum() == pytest.approx(1)
    assert {round(chances[classes == kind].sum(), 9) for kind in (0, 2, 5)} == {0.3}
    assert np.ptp(chances[classes == 0]) == 0
    for epoch in range(5):
        order = drawn(seed, epoch, chances)
        counts = Counter(classes[order].tolist())
        assert all(abs(counts[kind] - 30) <= 1 for kind in (0, 2, 5))
        assert abs(counts[-1] - 10) <= 1
        assert set(np.flatnonzero((classes == 2) | (classes == 5))) <= set(order.tolist())


@pytest.mark.parametrize("classes", [[0, 0, 0], [-1, -1, -1], [4, -1, 4]])
def test_a_single_class_or_none_is_drawn_as_uniformly_as_without_chances(classes):
    assert even_chances(np.array(classes)).tolist() == pytest.approx([1 / 3] * 3)


def test_views_take_turns_while_the_order_changes_every_epoch(shards):
    few = replace(feed(batch=4), views=2)
    steps = few.epoch_steps

    def epoch(number):
        rows = np.concatenate([few.rows(step) for step in range(number * steps, (number + 1) * steps)])
        pixels = [few.load(step, shards.__getitem__)["pixels"] for step in range(number * steps, (number + 1) * steps)]
        return dict(zip(rows.tolist(), np.concatenate(pixels), strict=True))

    seen = [epoch(number) for number in range(3)]
    assert list(seen[0]) != list(seen[2])
    both = set(seen[0]) & set(seen[1]) & set(seen[2])
    assert len(both) > 10
    assert all((seen[0][row] == seen[2][row]).all() for row in both)
    assert any((seen[0][row] != seen[1][row]).any() for row in both)


def test_in_order_every_image_comes_once_as_it_is_in_the_epoch_of_that_number(shards):
    shuffling = feed(batch=5)
    reading = replace(shuffling, in_order=True)
    assert reading.epoch_steps == -(-TOTAL // 5)
    for epoch in (0, 1):
        steps = range(epoch * reading.epoch_steps, (epoch + 1) * reading.epoch_steps)
        assert np.concatenate([reading.rows(step) for step in steps]).tolist() == list(range(TOTAL))
        read = np.concatenate([reading.load(step, shards.__getitem__)["pixels"] for step in steps])
        first = epoch * shuffling.epoch_steps
        batch = shuffling.load(first, shards.__getitem__)["pixels"]
        assert (read[shuffling.rows(first)] == batch).all()


def windowed(window=9, **changes):
    return replace(feed(), window=window, batch=4, **changes)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("window", [1, 9, 100])
def test_in_windows_too_every_image_comes_once_an_epoch_however_many_workers_there_are(window, workers):
    feeds = together(windowed(window), workers)
    steps = feeds[0].epoch_steps
    for epoch in range(3):
        seen = [row for step in range(epoch * steps, (epoch + 1) * steps) for row in all_rows(feeds, step)]
        assert len(seen) == len(set(seen)) == TOTAL // 4 * 4


def test_only_the_shards_of_the_windows_that_steps_lie_in_are_read(shards):
    one, met = windowed(), []
    for step in range(2 * one.epoch_steps):
        asked = set()
        one.load(step, lambda place, asked=asked: asked.add(place) or shards[place])
        assert asked <= one.shards(range(step, step + 1))
        met.append(one.shards(range(step, step + 1)))
    assert min(map(len, met)) < len(SHARDS)
    assert one.shards(range(2 * one.epoch_steps)) == set(range(len(SHARDS)))
    assert one.shards(range(2, 5)) == met[2] | met[3] | met[4]


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_what_is_mixed_in_is_of_the_same_window(shards, options):
    one = windowed(augment=Augment(**options))
    for step in range(2 * one.epoch_steps):
        asked = set()
        one.load(step, lambda place, asked=asked: asked.add(place) or shards[place])
        assert asked <= one.shards(range(step, step + 1))


def test_reading_asks_for_the_shards_of_its_rows_alone():
    one = feed(training=False, batch=8)
    assert [one.shards(range(step, step + 1)) for step in range(3)] == [{0, 1, 2}, {2, 3}, {3}]
    assert one.shards(range(3)) == {0, 1, 2, 3}
