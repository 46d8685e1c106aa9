"""Weighted metrics of one class an image, and of several."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from thaw.metrics.weighted.contract import (
    TINY,
    Candidates,
    Values,
    Weights,
    mean_over,
    ratio,
    sharpened,
    surprise,
)
from thaw.metrics.weighted.ranking import auroc, average_precision

_Ranking = Callable[[Weights, NDArray[np.float64], NDArray[np.bool_]], Values]


def accuracy(weights: Weights, right: NDArray[np.float64]) -> Values:
    """Return the share of right answers.

    Args:
        right: (N,) ones and zeros.
    """
    return ratio(weights @ right, weights.sum(axis=1))


def f1_macro(weights: Weights, answered: NDArray[np.bool_], true: NDArray[np.bool_]) -> Values:
    """Return the mean F1 over the classes among labels or answers; 0 where there is none.

    Args:
        answered: (N, C) which classes were answered.
        true: (N, C) which were there.
    """
    return np.nan_to_num(_Counts.of(weights, answered, true).macro()["f1_macro"])


@dataclass(frozen=True)
class _Counts:
    """(R, C) how often each class was answered rightly, was answered, and was there."""

    right: NDArray[np.float64]
    answered: NDArray[np.float64]
    true: NDArray[np.float64]

    @classmethod
    def of(cls, weights: Weights, answered: NDArray[np.bool_], true: NDArray[np.bool_]) -> "_Counts":
        """Count (N, C) answers and truths."""
        return cls(*(weights @ one.astype(np.float64) for one in (answered & true, answered, true)))

    @property
    def occurs(self) -> NDArray[np.bool_]:
        """(R, C) whether a class is among labels or answers; averages pass over those that are not."""
        return np.asarray((self.answered + self.true) > 0)

    def each(self) -> dict[str, NDArray[np.float64]]:
        """Return metric -> (R, C)."""
        return {
            "precision": ratio(self.right, self.answered, 0.0),
            "recall": ratio(self.right, self.true, 0.0),
            "f1": ratio(2 * self.right, self.answered + self.true, 0.0),
        }

    def support(self, names: tuple[str, ...]) -> dict[str, dict[str, int]]:
        """Return class name -> metric -> images answered with it, or of it; of the F1 the fewer of both.

        Where there is none of the one, the F1 is of the other.
        """
        found = {}
        for name, answered, true in zip(names, self.answered[0], self.true[0], strict=True):
            found[name] = {
                "precision": int(answered),
                "recall": int(true),
                "f1": int(min(answered, true) or max(answered, true)),
            }
        return found

    def macro(self) -> dict[str, Values]:
        """Return the means over classes, each counting alike."""
        return {f"{name}_macro": mean_over(values, self.occurs) for name, values in self.each().items()}

    def by_class(self, names: tuple[str, ...]) -> dict[str, dict[str, Values]]:
        """Return class name -> metric -> values, for the classes that occur."""
        each = self.each()
        occurs = self.occurs
        seen: NDArray[np.bool_] = np.any(occurs, axis=0)
        return {
            name: {metric: np.where(occurs[:, place], values[:, place], np.nan) for metric, values in each.items()}
            for place, name in enumerate(names)
            if seen[place]
        }


@dataclass(frozen=True)
class ClassSample:
    """Exactly one class an image.

    Attributes:
        names: of the classes.
        scores: (N, C) probabilities.
        targets: (N,) class indices, none missing.
        answered: (N,) class indices; the likeliest ones, unless an operating point says otherwise.
        unsure: (N,) bool.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    targets: NDArray[np.int64]
    answered: NDArray[np.int64]
    unsure: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.targets)

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return accuracy, macro averages, and how well scores rank; see `thaw.metrics.classes`."""
        right = self.goodness()
        return {
            "accuracy": accuracy(weights, right),
            **self._counts(weights).macro(),
            **_mean_over_classes("auroc_macro", auroc, weights, self.scores, self._hot()),
            "auroc_right": auroc(weights, self.scores[np.arange(len(self)), self.answered], right > 0),
        }

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return precision, recall and F1 of every class that occurs."""
        return self._counts(weights).by_class(self.names)

    def goodness(self) -> NDArray[np.float64]:
        """Return ones for right answers and zeros for wrong ones."""
        return np.asarray(self.answered == self.targets, dtype=np.float64)

    def losses(self) -> NDArray[np.float64]:
        """Return the negative log-probability of each true class."""
        return np.asarray(-np.log(np.clip(self.scores[np.arange(len(self)), self.targets], TINY, None)))

    def at(self, rows: NDArray[np.int64]) -> "ClassSample":
        """Return the images in some rows alone."""
        return ClassSample(self.names, self.scores[rows], self.targets[rows], self.answered[rows], self.unsure[rows])

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the probability of every answer, and whether it is right."""
        return self.scores[np.arange(len(self)), self.answered], self.answered == self.targets

    def surprise(self, sharpness: float) -> float:
        """Return the mean negative log-probability of the true class."""
        return float(self.tempered(1 / sharpness).losses().mean())

    def tempered(self, temperature: float) -> "ClassSample":
        """Return the same answers with other probabilities."""
        return replace(self, scores=self._sharpened(1 / temperature))

    def candidates(self, positive: str | None) -> list[Candidates]:
        """Return all images for the one class, or for every class the images for which it is the likeliest."""
        likeliest = self.scores.argmax(axis=1)
        if positive is not None:
            place = self.names.index(positive)
            true, every = self.targets == place, likeliest >= 0
            return [Candidates.of(positive, self.scores[:, place], true, every, usual=likeliest == place)]
        return [
            Candidates.of(name, self.scores[:, place], self.targets == place, likeliest == place)
            for place, name in enumerate(self.names)
        ]

    def _sharpened(self, sharpness: float) -> NDArray[np.float64]:
        powers = np.log(np.clip(self.scores, TINY, None)) * sharpness
        powers = np.exp(powers - powers.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def support(self) -> dict[str, dict[str, int]]:
        """Return class name -> metric -> how many images it is of."""
        return self._counts(np.ones((1, len(self)))).support(self.names)

    def _hot(self) -> NDArray[np.bool_]:
        return np.asarray(np.arange(len(self.names)) == self.targets[:, None])

    def _counts(self, weights: Weights) -> _Counts:
        answered = np.arange(len(self.names)) == self.answered[:, None]
        return _Counts.of(weights, answered, self._hot())


@dataclass(frozen=True)
class SetSample:
    """Any number of classes an image.

    Attributes:
        names: of the classes.
        scores: (N, C) probabilities.
        targets: (N, C) bool.
        answered: (N, C) bool: which classes were answered.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    targets: NDArray[np.bool_]
    answered: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.targets)

    def metrics(self, weights: Weights) -> dict[str, Values]:
        """Return exact matches, macro averages, and how well scores rank; see `thaw.metrics.classes`."""
        return {
            "exact_match": ratio(weights @ self.goodness(), weights.sum(axis=1)),
            **{name: np.nan_to_num(values) for name, values in self._counts(weights).macro().items()},
            **_mean_over_classes("auroc_macro", auroc, weights, self.scores, self.targets),
            **_mean_over_classes("average_precision_macro", average_precision, weights, self.scores, self.targets),
        }

    def by_class(self, weights: Weights) -> dict[str, dict[str, Values]]:
        """Return precision, recall and F1 of every class that occurs."""
        return self._counts(weights).by_class(self.names)

    def goodness(self) -> NDArray[np.float64]:
        """Return ones where exactly the right classes were answered, zeros elsewhere."""
        return np.asarray((self.answered == self.targets).all(axis=1), dtype=np.float64)

    def losses(self) -> NDArray[np.float64]:
        """Return the mean cross-entropy over classes."""
        told = np.where(self.targets, self.scores, 1 - self.scores)
        return np.asarray(-np.log(np.clip(told, TINY, None)).mean(axis=1))

    def at(self, rows: NDArray[np.int64]) -> "SetSample":
        """Return the images in some rows alone."""
        return SetSample(self.names, self.scores[rows], self.targets[rows], self.answered[rows])

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the probability of every class of every image, and whether the image has it."""
        return self.scores.ravel(), self.targets.ravel()

    def surprise(self, sharpness: float) -> float:
        """Return the mean cross-entropy over images and classes."""
        return surprise(*self.judged(), sharpness)

    def tempered(self, temperature: float) -> "SetSample":
        """Return the same answers with other probabilities."""
        return replace(self, scores=sharpened(self.scores, 1 / temperature))

    def candidates(self, positive: str | None) -> list[Candidates]:
        """Return all images for every class, or for the one class."""
        every = np.ones(len(self), dtype=bool)
        return [
            Candidates.of(name, self.scores[:, place], self.targets[:, place], every)
            for place, name in enumerate(self.names)
            if positive in (None, name)
        ]

    def support(self) -> dict[str, dict[str, int]]:
        """Return class name -> metric -> how many images it is of."""
        return self._counts(np.ones((1, len(self)))).support(self.names)

    def _counts(self, weights: Weights) -> _Counts:
        return _Counts.of(weights, self.answered, self.targets)


def _mean_over_classes(
    name: str, metric: _Ranking, weights: Weights, scores: NDArray[np.float64], hot: NDArray[np.bool_]
) -> dict[str, Values]:
    """Return the mean of a ranking metric over the classes that have both members and non-members."""
    ranked = [place for place in range(hot.shape[1]) if 0 < hot[:, place].sum() < len(hot)]
    if not ranked:
        return {}
    values = np.stack([metric(weights, scores[:, place], hot[:, place]) for place in ranked], axis=1)
    return {name: mean_over(values, ~np.isnan(values))}
