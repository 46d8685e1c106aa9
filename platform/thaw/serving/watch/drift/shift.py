"""Shift: whether classes are answered as often now as on the validation images.

Of two samples of images anything differs a little, so two questions are asked: how large the difference is (the
population stability index, with an interval), and how often samples that are alike differ as much (a permutation of
the images between both, of the chi-square statistic). Images count as independent; a hundred pictures of one scene
look surer than they are.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.evaluation.bootstrap import LEVEL, Interval
from thaw.serving.watch.drift.decided import Decided

LARGE = 0.2
"""Index from which on a shift is named; by custom 0.1 is small and 0.25 is large."""
LEAST_IMAGES = 20
"""Images that a side needs."""
MOST_IMAGES = 10_000
"""Images of a side that are looked at; drawn by the seed where there are more."""

_PERMUTATIONS = 999
_DRAWS = 2000
_SMOOTHED = 0.5
"""What is added to every count, so that a class that was never answered has a share (Jeffreys' prior)."""


class Shift(BaseModel):
    """How the answers of one task differ from those on the validation images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Interval
    """The population stability index; where an image has any number of classes, of the class that differs most."""
    p: float
    """How often samples that are alike would differ as much."""
    of: str | None
    """The class that the index is of; None where it is of all together."""
    images: tuple[int, int]
    """Validation images, and logged ones."""
    reference: dict[str, float]
    """Class -> share of the validation images that it was answered of."""
    live: dict[str, float]
    confidence: tuple[float | None, float | None]
    """Mean score of the surest class on both."""


def shift(reference: Decided, live: Decided, exclusive: bool, seed: int) -> Shift | None:
    """Compare answers; None where either side has too few images.

    Args:
        exclusive: whether an image has exactly one class.
    """
    if min(len(reference.shown), len(live.shown)) < LEAST_IMAGES:
        return None
    random = np.random.default_rng(seed)
    sides = [one.at(random.permutation(len(one.shown))[:MOST_IMAGES]) for one in (reference, live)]
    tables = [_tables(one.shown.sum(axis=0), len(one.shown), exclusive) for one in sides]
    indices = _index(*tables)
    most = int(np.argmax(indices))
    return Shift(
        index=_interval(float(indices[most]), tables[0][most], tables[1][most], random),
        p=_p(sides[0].shown, sides[1].shown, exclusive, random),
        of=None if exclusive else reference.names[most],
        images=(len(sides[0].shown), len(sides[1].shown)),
        reference=sides[0].shares,
        live=sides[1].shares,
        confidence=(sides[0].confidence, sides[1].confidence),
    )


def _tables(counts: NDArray[np.int64], images: int, exclusive: bool) -> NDArray[np.int64]:
    """Return (T, K) counts that each divide the images: by class, or for each class those with it and without."""
    return counts[None] if exclusive else np.stack([counts, images - counts], axis=1)


def _index(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the population stability index of each two of (..., K) divisions: their Jeffreys divergence."""
    before, now = ((one + _SMOOTHED) / (one + _SMOOTHED).sum(axis=-1, keepdims=True) for one in (first, second))
    return np.asarray(((now - before) * np.log(now / before)).sum(axis=-1))


def _interval(
    value: float, first: NDArray[np.int64], second: NDArray[np.int64], random: np.random.Generator
) -> Interval:
    """Return the index with its basic bootstrap interval, which takes away what sampling alone adds to it."""
    drawn = [random.multinomial(one.sum(), one / one.sum(), _DRAWS) for one in (first, second)]
    low, high = np.quantile(_index(*drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=max(0.0, 2 * value - float(high)), high=max(0.0, 2 * value - float(low)))


def _p(first: NDArray[np.bool_], second: NDArray[np.bool_], exclusive: bool, random: np.random.Generator) -> float:
    """Return how often images that are shuffled between both sides differ as much; of the class that differs most."""
    shown = np.concatenate([first, second]).astype(np.float32)
    total, images, size = shown.sum(axis=0), len(shown), len(second)
    on_second = np.zeros((1 + _PERMUTATIONS, images), dtype=np.float32)
    on_second[0, len(first) :] = 1
    for row in on_second[1:]:
        row[random.permutation(images)[:size]] = 1
    counts = on_second @ shown
    expected = total * size / images
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.nan_to_num((counts - expected) ** 2 / (expected if exclusive else expected * (1 - total / images)))
    found = each.sum(axis=1) if exclusive else each.max(axis=1)
    return float((1 + (found[1:] >= found[0] - 1e-6).sum()) / (1 + _PERMUTATIONS))
