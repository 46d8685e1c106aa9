"""Bootstrap: the learning curve as other validation images and other draws of training images would have shown it."""

import numpy as np
from numpy.typing import NDArray

from thaw.evaluation.bootstrap import draws, once
from thaw.metrics.weighted.classes import accuracy, f1_macro
from thaw.metrics.weighted.contract import Weights

RESAMPLES = 400


def values(answers: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (S, R) the best metric of each size and draw.

    Args:
        answers: (S, R, N) classes or (S, R, N, C) zeros and ones, of S sizes and R draws of each.
        truth: (N,) or (N, C).
    """
    return _by_draw(answers, truth, once(len(truth)))[..., 0]


def errors(
    answers: NDArray[np.int64], truth: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Return (B, S) one minus the best metric, the mean over draws, of each resample and size.

    All sizes of a resample share its images, its draws, and by how much better or worse other training images would
    have done.

    Args:
        answers: as of `values`, of at least two draws.
        truth: as of `values`.
        shares: (S,) each size as a share of all training images; the last is 1.
    """
    images = draws(len(truth), seed, RESAMPLES)
    subsets = draws(answers.shape[1], seed + 1, RESAMPLES) / answers.shape[1]
    found = 1 - np.einsum("srb,br->bs", _by_draw(answers, truth, images), subsets)
    others = np.random.default_rng(seed + 2).normal(0, spread(values(answers, truth), shares), (RESAMPLES, 1))
    return np.asarray(np.clip(found + others, 0, 1))


def spread(measured: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return the standard deviation of the metric over other training images, as many as there are.

    All subsets of the largest size are the same, so it is known from smaller ones: the variance falls as one over the
    images that are drawn, and where they are drawn from a finite number, by the share of it that they are.

    Args:
        measured: (S, R) metrics, of at least two draws.
        shares: (S,) as of `errors`.

    Source: of the second, Cochran 1977, Sampling Techniques, eq. 2.12.
    """
    part = shares[:-1]
    return float(np.sqrt((measured[:-1].var(axis=1, ddof=1) * part / (1 - part)).mean()))


def _by_draw(answers: NDArray[np.int64], truth: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """Return (S, R, B) the best metric under each of B weightings."""
    return np.array([[_metric(one, truth, weights) for one in of_size] for of_size in answers])


def _metric(answers: NDArray[np.int64], truth: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    if truth.ndim == 1:
        return accuracy(weights, (answers == truth).astype(np.float64))
    return f1_macro(weights, answers > 0, truth > 0)
