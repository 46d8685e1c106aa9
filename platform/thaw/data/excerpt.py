"""Excerpt: a few images of a split, unchanged and always the same ones, to be looked at again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data import augment
from thaw.data.feed import Feed


@dataclass(frozen=True)
class Excerpt(Feed):
    """The batches of one worker from some images of a split.

    Attributes:
        chosen: places of the images in the split.
    """

    chosen: tuple[int, ...] = ()

    @property
    def images(self) -> int:
        """Images in the excerpt."""
        return len(self.chosen)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return which images of the split this worker sees at ``step``."""
        return np.asarray(self.chosen, dtype=np.int64)[super().rows(step)]


def choose(images: int, most: int, seed: int) -> tuple[int, ...]:
    """Return at most ``most`` places below ``images``, in order; drawn, for a split may be sorted by class."""
    order: Sequence[int] = augment.generator(seed, 0, "excerpt").permutation(images)[:most].tolist()
    return tuple(sorted(order))
