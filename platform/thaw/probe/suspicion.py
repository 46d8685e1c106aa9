"""Suspicion: how probable it is that a label is wrong, by linear heads that have not seen it.

As in confident learning (Northcutt et al. 2021, arXiv:1911.00068) each image is judged by a head that was learnt from
others, and what is looked at is the probability it gives to the class that was stated. Its rule for how many of them
are wrong names one image in fifty of a clean set of 81 classes, hard ones among similar things. So how many are wrong
is fitted instead: as the share of labels that must have been drawn by chance for all of them to be most probable,
together with the temperature that makes probabilities of answers (Guo et al. 2017, arXiv:1706.04599). The noise is
that of Bootkrajang and Kaban 2012, doi:10.1007/978-3-642-33460-3_15, here of the answers rather than in the learning.
A probability of 0.9 that a label is wrong then means nine in ten, and a clean set has no suspects.

Labels that are wrong by a pattern, such as one class taken for another, are not found so: heads learn the pattern, and
then nothing is by chance. Northcutt's rule names those as well, together with hard images, which nothing tells from
them. So it is followed too, and what it names is said to be unlike its class rather than wrong.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.probe import axes, folds
from thaw.probe.axes import Axes, Head
from thaw.probe.linear import PENALTIES

FOLDS = 5
LEAST_MEMBERS = FOLDS
"""Images, copies not counted, that a class needs to be judged: fewer, and heads would be asked about what they never
saw."""
LEAST_IMAGES = 50
"""Labelled images that a task needs."""

_TEMPERATURES = torch.logspace(-1, 0.5, 31, dtype=torch.float64).tolist()
_NOISE = (0.0, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, *(round(0.02 + 0.01 * step, 2) for step in range(29)))
"""Shares of wrong labels that are tried; above 0.3 nothing is certain."""


@dataclass(frozen=True)
class Suspicion:
    """What heads made of labels that they had not seen.

    A task of one class an image has N labels, each a choice among C classes; one of sets has N x C, each yes or no.

    Attributes:
        wrong: (N,) or (N, C) probability that a label is wrong; 0 where it was not judged.
        judged: (N,) or (N, C) whether it was.
        pull: (N,) or (N, C) by how much another class is more probable than the one that is stated, where it is at
            least as probable as it is, on average, of images that carry it; 0 elsewhere.
        likeliest: (N,) the class that an image looks most like; of sets (N, C) zeros and ones.
        agreement: share of the judged labels that are what the image looks most like: how good the heads are, and the
            labels.
        penalty: of the heads.
        temperature: by which their outputs were divided.
    """

    wrong: NDArray[np.float64]
    judged: NDArray[np.bool_]
    pull: NDArray[np.float64]
    likeliest: NDArray[np.int64]
    agreement: float
    penalty: float
    temperature: float

    @property
    def noise(self) -> float:
        """Expected share of wrong labels among those that were judged."""
        return float(self.wrong[self.judged].mean())


def suspect(
    vectors: NDArray[np.float32], targets: NDArray[np.int64], groups: NDArray[np.str_], seed: int
) -> Suspicion | None:
    """Return how probable it is that labels are wrong; None where there is too little to judge them by.

    Args:
        vectors: (N, D) of labelled images.
        targets: (N,) class indices, or (N, C) zeros and ones.
        groups: (N,) equal for copies of one image: no head sees a copy of what it judges.
    """
    judged = _judged(targets, groups)
    if len(targets) < LEAST_IMAGES or not judged.any() or not _choice(targets[_rows(judged)]):
        return None
    fold = folds.deal(folds.strata_of(targets), groups, FOLDS, seed)
    features, labels = torch.from_numpy(vectors), torch.from_numpy(targets)
    turned = Axes.of(features)
    places = turned.places(features)
    heads = [Head.blank(turned, _classes(targets))] * FOLDS
    best: tuple[_Fitted, float, Tensor] | None = None
    for penalty in PENALTIES:  # each begins where the one before ended
        heads = [_learnt(heads[one], turned, places, labels, fold != one, penalty) for one in range(FOLDS)]
        outputs = torch.stack([head(places) for head in heads])[fold, torch.arange(len(fold))].double()
        fitted = _fitted(outputs, labels, judged)
        if best is not None and fitted.likelihood < best[0].likelihood:
            break  # weaker ones learn more of the noise by heart
        best = fitted, penalty, outputs
    return _found(*best, labels, judged) if best else None


@dataclass(frozen=True)
class _Fitted:
    """Mean log-likelihood of the labels, with what it was reached."""

    likelihood: float
    temperature: float
    noise: float


def _fitted(outputs: Tensor, labels: Tensor, judged: NDArray[np.bool_]) -> _Fitted:
    """Return the temperature and the share of noise with which the judged labels are most probable."""
    noise, choices = torch.tensor(_NOISE, dtype=torch.float64), _choices(outputs, labels)
    found = []
    for temperature in _TEMPERATURES:
        stated = log_stated(outputs / temperature, labels)[torch.from_numpy(judged)].exp()
        chance = noise / (choices - 1)
        each = torch.log(stated[:, None] * (1 - noise - chance) + chance + 1e-300).mean(dim=0)
        best = int(each.argmax())  # of equals the first, so that what tells nothing suspects nothing
        found.append(_Fitted(float(each[best]), temperature, _NOISE[best]))
    return max(found, key=lambda one: one.likelihood)


def log_stated(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) or (N, C) the log-probability that outputs give to each label."""
    if labels.dim() == 2:
        return torch.nn.functional.logsigmoid(torch.where(labels > 0, outputs, -outputs))
    return torch.log_softmax(outputs, dim=1).gather(1, labels[:, None])[:, 0]


def _found(fitted: _Fitted, penalty: float, outputs: Tensor, labels: Tensor, judged: NDArray[np.bool_]) -> Suspicion:
    stated = log_stated(outputs / fitted.temperature, labels).exp().numpy()
    by_chance = fitted.noise / (_choices(outputs, labels) - 1) * (1 - stated)
    wrong = by_chance / np.maximum((1 - fitted.noise) * stated + by_chance, 1e-300)
    likeliest = (outputs > 0).long() if labels.dim() == 2 else outputs.argmax(dim=1)
    return Suspicion(
        wrong=np.where(judged, wrong, 0.0),
        judged=judged,
        pull=np.where(judged, pulled(outputs / fitted.temperature, labels), 0.0),
        likeliest=likeliest.numpy(),
        agreement=float((likeliest == labels).numpy()[judged].mean()),
        penalty=penalty,
        temperature=fitted.temperature,
    )


def pulled(outputs: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Return (N,) or (N, C) by how much another class pulls.

    Source: Northcutt et al. 2021, arXiv:1911.00068, eq. 1 and 2; of sets, each class is a choice between yes and no.
    """
    if labels.dim() == 2:
        each = [
            pulled(torch.stack([-one / 2, one / 2], dim=1), stated)
            for one, stated in zip(outputs.T, labels.T, strict=True)
        ]
        return np.stack(each, axis=1)
    told, stated = outputs.softmax(dim=1).numpy(), labels.numpy()
    classes, rows = told.shape[1], np.arange(len(stated))
    usual = np.bincount(stated, told[rows, stated], classes) / np.maximum(np.bincount(stated, minlength=classes), 1)
    others = np.where(told >= np.where(usual > 0, usual, np.inf), told, 0.0)
    others[rows, stated] = 0.0
    return np.asarray(np.maximum(others.max(axis=1) - told[rows, stated], 0.0))


def _learnt(start: Head, turned: Axes, places: Tensor, labels: Tensor, seen: NDArray[np.bool_], penalty: float) -> Head:
    rows = torch.from_numpy(seen)
    stated = labels[rows]
    return axes.fit(start, turned, places[rows], lambda outputs: -log_stated(outputs, stated).mean(), penalty)


def _judged(targets: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which labels are of classes with enough members, copies not counted."""
    _, first = np.unique(groups, return_index=True)
    alone = targets[first]
    if targets.ndim == 2:
        fewest = np.minimum(alone.sum(axis=0), (1 - alone).sum(axis=0))
        return np.tile(fewest >= LEAST_MEMBERS, (len(targets), 1))
    enough = np.bincount(alone, minlength=_classes(targets)) >= LEAST_MEMBERS
    return np.asarray(enough[targets])


def _rows(judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (N,) which images have a judged label."""
    return np.asarray(judged.reshape(len(judged), -1).any(axis=1))


def _choice(targets: NDArray[np.int64]) -> bool:
    """Return whether labels say more than one thing."""
    return targets.ndim == 2 or len(np.unique(targets)) > 1


def _classes(targets: NDArray[np.int64]) -> int:
    return int(targets.max()) + 1 if targets.ndim == 1 else targets.shape[1]


def _choices(outputs: Tensor, labels: Tensor) -> int:
    """Return what a label is one of."""
    return 2 if labels.dim() == 2 else outputs.shape[1]
