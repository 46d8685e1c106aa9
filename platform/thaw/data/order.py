"""Order: in which order the images of a split come in one epoch; a pure function of the seed and the epoch.

Every epoch has an order of its own, drawn from all orders alike, over all images that are held at the same time. Where
a split is larger than that, its shards are put in an order that is drawn anew, cut into windows, and the images of each
window are shuffled together: nothing else need be held, and every shard is read once an epoch. A shard is a random
sample of its split, for it holds the images whose ids have certain hashes (see thaw.data.listing). So what comes next
to what has nothing to do with labels, folders or the order of listing; all that is left of the order on disk is that
images of one shard come within the same window. An order takes 8 bytes an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data import augment


@dataclass(frozen=True)
class Order:
    """The order of one epoch.

    Attributes:
        rows: (N,) the image that comes at each place.
        bounds: (W + 1,) the places at which windows begin and the last one ends.
        windows: for each window, the places of the shards that it is of.
    """

    rows: NDArray[np.int64]
    bounds: NDArray[np.int64]
    windows: tuple[frozenset[int], ...]

    def near(self, place: int) -> NDArray[np.int64]:
        """Return the images of the window that a place is in, counted on from the beginning where the order ends."""
        window = self._window(place)
        return self.rows[self.bounds[window] : self.bounds[window + 1]]

    def shards(self, first: int, stop: int) -> set[int]:
        """Return the shards of the windows that lie between two places."""
        if stop > len(self.rows):  # an order that fills no batch begins again
            return set().union(*self.windows)
        return set[int]().union(*self.windows[self._window(first) : self._window(stop - 1) + 1])

    def _window(self, place: int) -> int:
        return int(np.searchsorted(self.bounds, place % len(self.rows), side="right")) - 1


def of_epoch(
    seed: int, epoch: int, shard_rows: Sequence[int], chances: NDArray[np.float64] | None, window: int | None
) -> Order:
    """Return the order of an epoch.

    Args:
        shard_rows: images in each shard.
        chances: how likely each image is to be drawn; None draws each once.
        window: about how many images are shuffled together; None is all of them.
    """
    images = sum(shard_rows)
    rows = shuffled(seed, epoch, images) if chances is None else drawn(seed, epoch, chances)
    if window is None:
        return _held(rows, np.array([0, images]), (frozenset(range(len(shard_rows))),))
    sizes = np.array(shard_rows, dtype=np.int64)
    order = augment.generator(seed, epoch, "shards").permutation(len(sizes))
    number = np.empty_like(sizes)
    number[order] = (np.cumsum(sizes[order]) - sizes[order]) // window
    _, number = np.unique(number, return_inverse=True)  # a shard larger than a window leaves none out
    of = number[np.searchsorted(np.cumsum(sizes), rows, side="right")]
    rows = rows[np.argsort(of, kind="stable")]
    windows = tuple(frozenset(np.flatnonzero(number == one).tolist()) for one in range(number.max() + 1))
    return _held(rows, np.searchsorted(np.sort(of), np.arange(len(windows) + 1)), windows)


def _held(rows: NDArray[np.int64], bounds: NDArray[np.int64], windows: tuple[frozenset[int], ...]) -> Order:
    rows.flags.writeable = False  # every caller gets the same ones
    return Order(rows, bounds, windows)


def shuffled(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch: a permutation of all images, seeded by (seed, epoch)."""
    return augment.generator(seed, epoch, "order").permutation(images)


def drawn(seed: int, epoch: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return as many images as there are, each as often as its chance has it, seeded by (seed, epoch).

    Throws of a die would leave out a third of the images in every epoch. Evenly spaced points come within one of the
    expected count instead, for each image and for all images of one chance together.

    Source: systematic sampling, Madow and Madow 1944, on an order in which images of one chance are shuffled.
    """
    random, images = augment.generator(seed, epoch, "order"), len(chances)
    order = random.permutation(images)
    order = order[np.argsort(chances[order], kind="stable")]
    reach = np.cumsum(chances[order])
    points = (random.random() + np.arange(images)) / images * reach[-1]
    return random.permutation(order[np.searchsorted(reach, points, side="right").clip(max=images - 1)])


def even_chances(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (N,) chances that sum to 1 and together are the same for every class that occurs.

    Args:
        classes: (N,) class index of each image; -1 where it has none, and its chance stays 1 / N.
    """
    found, of, counts = np.unique(classes, return_inverse=True, return_counts=True)
    labelled = classes >= 0
    shared = labelled.mean() / max(1, np.count_nonzero(found >= 0))
    return np.where(labelled, shared / counts[of], 1 / len(classes))
