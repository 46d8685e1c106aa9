"""Orders: every image comes as it should, shuffled with all that are held, and nothing of the order on disk is left."""

import numpy as np
import pytest

from thaw.data.order import of_epoch

SEEDS = range(6)
SHARDS = [50] * 40


def place_of(order):
    """Return at which place each image comes."""
    places = np.empty(len(order.rows), dtype=np.int64)
    places[order.rows] = np.arange(len(order.rows))
    return places


@pytest.mark.parametrize("window", [None, 1, 49, 50, 51, 500, 10_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_comes_once_in_whatever_windows(seed, window):
    order = of_epoch(seed, 3, SHARDS, None, window)
    assert sorted(order.rows.tolist()) == list(range(2000))
    assert sorted(shard for one in order.windows for shard in one) == list(range(40))
    assert order.bounds[0] == 0
    assert order.bounds[-1] == 2000


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_hold_whole_shards_and_little_more_than_was_asked_for(seed):
    sizes = np.random.default_rng(seed).integers(1, 100, 60).tolist()
    order = of_epoch(seed, 0, sizes, None, 300)
    ends = np.cumsum(sizes)
    for number, shards in enumerate(order.windows):
        rows = order.rows[order.bounds[number] : order.bounds[number + 1]]
        assert set(np.searchsorted(ends, rows, side="right").tolist()) == shards
        assert len(rows) == sum(sizes[shard] for shard in shards) < 400


@pytest.mark.parametrize("seed", SEEDS)
def test_every_epoch_has_other_windows_in_another_order(seed):
    first, second = (of_epoch(seed, epoch, SHARDS, None, 500) for epoch in (0, 1))
    assert first.windows != second.windows
    assert not np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.rows, of_epoch(seed, 0, SHARDS, None, 500).rows)


@pytest.mark.parametrize("window", [None, 500])
def test_where_an_image_comes_has_nothing_to_do_with_where_it_is_on_disk(window):
    found = [place_of(of_epoch(0, epoch, SHARDS, None, window)) for epoch in range(30)]
    assert np.abs(np.corrcoef(np.arange(2000), np.mean(found, axis=0))[0, 1]) < 0.1
    assert np.abs(np.mean([np.corrcoef(np.arange(2000), one)[0, 1] for one in found])) < 0.1


def test_batches_of_a_window_mix_all_of_its_shards():
    order = of_epoch(0, 0, SHARDS, None, 500)
    batches = order.rows.reshape(-1, 40)
    assert np.mean([len(set((batch // 50).tolist())) for batch in batches]) > 8.5  # of 10 shards; 9.86 by chance


@pytest.mark.parametrize("window", [None, 500])
def test_images_that_are_drawn_more_often_come_more_often_in_windows_too(window):
    chances = np.full(2000, 0.5 / 1000)
    chances[:1000] = 0
    chances[1000:1100] = 0.5 / 100
    chances /= chances.sum()
    order = of_epoch(0, 0, SHARDS, chances, window)
    counts = np.bincount(order.rows, minlength=2000)
    assert counts.sum() == 2000
    assert counts[:1000].max() == 0
    assert np.abs(counts - 2000 * chances).max() <= 1


def test_what_is_near_a_place_is_its_window():
    order = of_epoch(0, 0, SHARDS, None, 500)
    for place in (0, 499, 500, 1999, 2000):
        window = place % 2000 // 500
        assert np.array_equal(order.near(place), order.rows[window * 500 : (window + 1) * 500])
    assert order.shards(0, 500) == set(order.windows[0])
    assert order.shards(499, 501) == set(order.windows[0] | order.windows[1])
    assert order.shards(1990, 2010) == set(range(40))
