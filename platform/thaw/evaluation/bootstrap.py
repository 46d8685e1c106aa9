"""Bootstrap: how far a figure would move with other test images of the same kind.

Images are drawn with replacement, as many as there are. How many show each class is left to chance, as it was when the
test images came together: draws that kept it would hold too few of the true precisions. All figures of a task are
computed from the same draws, and those of two models compared on the same images as well: the difference is then that
of pairs.
"""

from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np
from pydantic import BaseModel, ConfigDict

from thaw.metrics.weighted.contract import INTERPOLATED, Sample, Values, Weights

DRAWS = 2000
LEVEL = 0.95
_GROUPS = 200
"""Most groups of images that are left out in turn, to learn how skewed a figure is."""
_NORMAL = NormalDist()
_ENDS = tuple(_NORMAL.inv_cdf(share) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
_SHOWN = 2**0.5 - 1
"""Share of the bias of an interpolated metric that draws show: it grows as the noise does, and noise upon noise of the
same size is only so much wider."""
_LEAST = 0.5
"""Share of the draws in which a figure must have a value for an interval to be told."""


class Interval(BaseModel):
    """A figure with the interval that holds the truth in 95 of 100 such measurements."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


def draws(images: int, seed: int, count: int = DRAWS) -> Weights:
    """Return (count, N) how often each of N images is drawn, the same for the same seed."""
    random = np.random.default_rng(seed)
    return random.multinomial(images, np.full(images, 1 / max(1, images)), count).astype(np.float64)


def intervals(
    metrics: Callable[[Weights], Mapping[str, Values]], weights: Weights, of: int | None = None
) -> dict[str, Interval]:
    """Return metric -> interval, for those that have a value.

    Args:
        metrics: what a sample, or a part of one, comes to under weightings.
        weights: what `draws` returned.
        of: how many images, or boxes, the figures are of; all images when left out.
    """
    images = weights.shape[1]
    whole, without, drawn = (metrics(each) for each in (once(images), leaving_out(images), weights))
    return told(whole, without, drawn, dict.fromkeys(whole, images if of is None else of))


def by_class(sample: Sample, weights: Weights) -> dict[str, dict[str, Interval]]:
    """Return class name -> metric -> interval, for the classes that occur."""
    images = len(sample)
    whole, without, drawn = (sample.by_class(each) for each in (once(images), leaving_out(images), weights))
    support = sample.support()
    found = {
        name: told(values, without.get(name, {}), drawn.get(name, {}), support[name]) for name, values in whole.items()
    }
    return {name: values for name, values in found.items() if values}


def told(
    whole: Mapping[str, Values],
    without: Mapping[str, Values],
    drawn: Mapping[str, Values],
    of: Mapping[str, int] | None = None,
) -> dict[str, Interval]:
    """Return metric -> interval.

    Of a figure that is 0 or 1 in every draw, such as that of a model without a mistake, draws say nothing: its interval
    is then that of so many cases of which none, or all, were right; without a case it is known of nothing.

    The percentiles of the draws are taken where bias and skewness of the figure ask for it (BCa), because figures near
    1, such as AUROC, move further down than up. Interpolated metrics are more biased than draws show.

    Args:
        whole: (1,) metrics of all images once.
        without: (G,) metrics with some of the images left out, each group in turn.
        drawn: (R,) metrics of every draw.
        of: metric -> how many cases it is of; left out where 0 and 1 are no bounds, such as of differences.

    Source: Efron 1987, doi:10.1080/01621459.1987.10478410, eq. 2.3 and 4.4 (the jackknife's); of figures without a
    spread Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    found = {}
    for name, [value] in whole.items():
        values = _known(drawn.get(name))
        if not np.isnan(value) and len(values) >= _LEAST * len(drawn.get(name, values)):
            levels = _levels(float(value), values, _known(without.get(name)), 1 / _SHOWN if name in INTERPOLATED else 1)
            low, high = np.quantile(values, levels)
            low, high = min(low, value), max(high, value)
            if of and low == high:
                gap = 1 - ((1 - LEVEL) / 2) ** (1 / of[name]) if of[name] else 1.0
                low, high = (low - gap if value == 1 else low), (high + gap if value == 0 else high)
            found[name] = Interval(value=float(value), low=float(low), high=float(high))
    return found


def _levels(value: float, values: Values, without: Values, hidden: float) -> tuple[float, float]:
    """Return which shares of the draws lie below the two ends.

    Args:
        hidden: how many times the bias of the draws the metric's own one is.
    """
    below = float((values < value).mean() + (values == value).mean() / 2)
    if not 0 < below < 1:
        return (1 - LEVEL) / 2, (1 + LEVEL) / 2
    shown, change = _NORMAL.inv_cdf(below), without.mean() - without if len(without) else np.zeros(1)
    spread = float((change**2).sum() ** 1.5)
    skew = float((change**3).sum()) / (6 * spread) if spread else 0.0
    bias = min(max(hidden * shown, _ENDS[0]), _ENDS[1])  # beyond, the figure itself would lie outside
    low, high = (_NORMAL.cdf(shown + (bias + end) / (1 - skew * (bias + end))) for end in _ENDS)
    return low, high


def _known(values: Values | None) -> Values:
    return np.empty(0) if values is None else np.asarray(values[~np.isnan(values)])


def once(images: int) -> Weights:
    """Return (1, N) weights that count every image once."""
    return np.ones((1, images))


def leaving_out(images: int) -> Weights:
    """Return (G, N) weights that leave out one group of images after another."""
    groups = min(images, _GROUPS)
    stay = np.arange(images) % groups != np.arange(groups)[:, None]
    return np.asarray(stay, dtype=np.float64)
