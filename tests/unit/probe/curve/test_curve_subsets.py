"""Subsets grow by even ratios to all images, and every beginning of the order has the shares of the whole."""

import numpy as np
import pytest

from thaw.probe.curve import subsets

CLASSES = np.repeat(np.arange(3), [100, 60, 40])


def test_sizes_grow_by_even_ratios_up_to_all() -> None:
    sizes = subsets.sizes(2640, 4)
    assert (sizes[0], sizes[-1], len(sizes)) == (165, 2640, subsets.SIZES)
    assert np.ptp(np.log(sizes[1:] / sizes[:-1])) < 0.02


@pytest.mark.parametrize(("images", "classes", "least"), [(2640, 200, 400), (100, 3, 16), (10, 2, 10)])
def test_the_smallest_has_something_of_every_class(images: int, classes: int, least: int) -> None:
    assert subsets.sizes(images, classes)[0] == least


@pytest.mark.parametrize("size", [20, 50, 130])
def test_every_beginning_has_the_shares_of_the_whole(size: int) -> None:
    mixed = np.random.default_rng(1).permutation(CLASSES)
    counts = np.bincount(mixed[subsets.order(mixed, 0, 0)[:size]], minlength=3)
    assert counts == pytest.approx(size * np.array([0.5, 0.3, 0.2]), abs=1.01)


def test_every_image_is_in_the_order_once() -> None:
    assert sorted(subsets.order(CLASSES, 0, 0)) == list(range(200))


def test_seed_and_draw_decide() -> None:
    first, again, draw, seed = (subsets.order(CLASSES, *one)[:20] for one in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert (first == again).all()
    assert len({tuple(sorted(one)) for one in (first, draw, seed)}) == 3


def test_sets_keep_the_shares_of_their_rarest_classes() -> None:
    sets = np.zeros((100, 2), dtype=np.int64)
    sets[:, 0] = 1
    sets[::10, 1] = 1
    order = subsets.order(sets, 0, 0)
    assert sets[order[:30], 1].sum() == pytest.approx(3, abs=1)
