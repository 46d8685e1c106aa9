"""An excerpt is the same few images, unchanged, whoever reads them and however often."""

import numpy as np
import pytest

from thaw.config.experiment import Image, Limits
from thaw.data.excerpt import Excerpt, choose
from thaw.data.preprocess import Preprocess


def _excerpt(chosen: tuple[int, ...], worker: int = 0, workers: int = 1) -> Excerpt:
    size, limits = Preprocess.of(Image(size=32)), Limits()
    return Excerpt((30, 20), {}, size, limits, 8, None, 0.3, 1, worker, workers, chosen=chosen)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_together_see_each_chosen_image_once(workers: int) -> None:
    chosen = choose(50, 13, seed=3)
    seen = []
    for worker in range(workers):
        excerpt = _excerpt(chosen, worker, workers)
        assert excerpt.epoch_steps == 2
        seen += [int(row) for step in range(2) for row in excerpt.rows(step)]
    assert sorted(seen) == list(chosen)


def test_images_are_drawn_by_the_seed_and_no_more_than_there_are() -> None:
    assert choose(50, 13, seed=3) == choose(50, 13, seed=3) != choose(50, 13, seed=4)
    assert choose(5, 13, seed=3) == (0, 1, 2, 3, 4)
    assert choose(5, 0, seed=3) == ()
    assert np.ptp(choose(1000, 20, seed=0)) > 500  # not the first ones: a split may be sorted by class
