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


def errors(answers: NDArray[np.int64], truth: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return (B, S) one minus the best metric, the mean over draws, of each resample and size.

    All sizes of a resample share its images and draws, as they do in what was measured. Images are drawn from all, not
    class by class: of classes with a few validation images each, such draws would vary too little.

    Args:
        answers: as of `values`.
        truth: as of `values`.
    """
    images = draws(np.zeros(len(truth), dtype=np.int64), seed, RESAMPLES)
    subsets = draws(np.zeros(answers.shape[1], dtype=np.int64), seed + 1, RESAMPLES) / answers.shape[1]
    return 1 - np.asarray(np.einsum("srb,br->bs", _by_draw(answers, truth, images), subsets))


def _by_draw(answers: NDArray[np.int64], truth: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    """Return (S, R, B) the best metric under each of B weightings."""
    return np.array([[_metric(one, truth, weights) for one in of_size] for of_size in answers])


def _metric(answers: NDArray[np.int64], truth: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    if truth.ndim == 1:
        return accuracy(weights, (answers == truth).astype(np.float64))
    return f1_macro(weights, answers > 0, truth > 0)
