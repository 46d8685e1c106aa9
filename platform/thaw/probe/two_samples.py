"""Two samples: whether two sets of vectors come from one distribution, by whether a linear classifier tells them apart.

The classifier two-sample test of Lopez-Paz and Oquab 2017, arXiv:1610.06545, with the area under the ROC curve in place
of accuracy, so that sets of different sizes are compared alike. The classifier is a ridge regression on sides, whose
answers are linear in them: it is learnt anew for every permutation of the sides at the price of one product.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.probe.axes import Axes

LEAST_IMAGES = 20
"""Images that a side needs."""
MOST_IMAGES = 1500
"""Images of a side that are looked at; drawn by the seed where there are more."""

DIFFERENT = 0.65
"""Area under the ROC curve from which on a difference is named. Of many images any difference is certain, so certainty
alone says nothing: images of one random split come to 0.45 to 0.55, and 0.65 is where one would begin to see it."""
CERTAIN = 0.01
"""Probability of telling apart sets that are alike as well as these, up to which a difference is named."""

_FOLDS = 5
_PERMUTATIONS = 499
_PENALTY = 1.0
"""Of the ridge regression, in variances of a feature."""


@dataclass(frozen=True)
class Comparison:
    """How well the second of two sets is told from the first.

    Attributes:
        auc: how often an unseen vector of the second is ranked above one of the first; 0.5 by chance, 1 without fail.
        p: how often sets that are alike would be told apart as well as these (Phipson and Smyth 2010,
            doi:10.2202/1544-6115.1585).
        seen: how many of the first, and of the second, were compared.
        rows: those that were compared of the second.
        strangeness: of each of these, how far the classifier puts it from the mean of the first, in standard
            deviations of these, towards the second.
    """

    auc: float
    p: float
    seen: tuple[int, int]
    rows: NDArray[np.int64]
    strangeness: NDArray[np.float64]


def compare(first: NDArray[np.float32], second: NDArray[np.float32], seed: int) -> Comparison | None:
    """Compare (N, D) with (M, D) vectors; None where either are too few."""
    if min(len(first), len(second)) < LEAST_IMAGES:
        return None
    random = np.random.default_rng(seed)
    drawn = [random.permutation(len(one))[:MOST_IMAGES] for one in (first, second)]
    vectors = torch.from_numpy(np.concatenate([first[drawn[0]], second[drawn[1]]]))
    side = np.repeat([0.0, 1.0], [len(one) for one in drawn])
    permuted = [random.permutation(side) for _ in range(_PERMUTATIONS)]
    sides = torch.from_numpy(np.stack([side, *permuted], axis=1)).float()
    fold = random.permutation(len(side)) % _FOLDS  # without looking at the sides, or permuting them would change more
    places = Axes.of(vectors).places(vectors)
    scores = torch.empty_like(sides)
    for one in range(_FOLDS):
        seen = torch.from_numpy(fold != one)
        scores[~seen] = _scores(places[seen], sides[seen], places[~seen])
    aucs = np.mean([_auc(scores[fold == one], sides[fold == one]) for one in range(_FOLDS)], axis=0)
    told = scores[:, 0].double().numpy()
    return Comparison(
        auc=float(aucs[0]),
        p=float((1 + (aucs[1:] >= aucs[0]).sum()) / (1 + _PERMUTATIONS)),
        seen=(len(drawn[0]), len(drawn[1])),
        rows=drawn[1],
        strangeness=_standing(told, side, fold)[side == 1],
    )


def _scores(places: Tensor, sides: Tensor, others: Tensor) -> Tensor:
    """Return (M, P) answers to others of the P regressions on (N, P) sides."""
    centre = places.mean(dim=0)
    places = places - centre
    gram = places.T @ places / len(places)
    gram.diagonal().add_(_PENALTY)
    weights: Tensor = torch.linalg.solve(gram, places.T @ (sides - sides.mean(dim=0)) / len(places))
    return (others - centre) @ weights


def _auc(scores: Tensor, sides: Tensor) -> NDArray[np.float64]:
    """Return (P,) areas under the ROC curve of (N, P) scores; 0.5 where only one side is there.

    Of equal scores each has the mean of their ranks.
    """
    columns = scores.T.contiguous()
    ordered = columns.sort(dim=1).values
    low, high = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (low + high + 1).T.double() / 2
    above = sides.double()
    many, few = above.sum(dim=0), (1 - above).sum(dim=0)
    area = ((ranks * above).sum(dim=0) - many * (many + 1) / 2) / (many * few)
    return np.asarray(torch.nan_to_num(area, nan=0.5, posinf=0.5, neginf=0.5).numpy())


def _standing(scores: NDArray[np.float64], side: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (N,) scores in standard deviations of the first, among those that the same regression judged."""
    found = np.zeros_like(scores)
    for one in range(_FOLDS):
        within = fold == one
        beside = scores[within & (side == 0)]
        if len(beside) > 1:
            found[within] = (scores[within] - beside.mean()) / max(float(beside.std()), 1e-12)
    return found
