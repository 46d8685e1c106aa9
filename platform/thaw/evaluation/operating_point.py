"""Operating points: from which score on a class is answered, chosen for a stated aim on validation images.

An aim is for images to come, so a threshold is not set where the validation images just keep to it, which new images
would fail in half of all cases: it is set where the expected rate on new images keeps to it. With few validation images
that can be out of reach, and is then said.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.config.experiment import OperatingPoint
from thaw.evaluation import bootstrap
from thaw.evaluation.bootstrap import Interval
from thaw.metrics.weighted.contract import Candidates, Sample, Values, Weights, ratio
from thaw.tasks.contract import Answering

_Scores = NDArray[np.float64]
_EVEN = 0.5
"""The threshold of a class of which validation images show nothing."""
_NAMED = 4
"""Classes that are named in a line."""


class Kept(BaseModel):
    """How an aim was kept by one class, or by all that share a threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    threshold: float
    aim: str
    value: float | None
    """What was aimed at; None where it is the best."""
    promised: bool
    """Whether the validation images were enough to expect the aim to be kept by new ones."""
    realised: Interval | None
    """The same quantity on the images of this report."""
    false_positives: int
    """Wrong answers with the threshold."""
    false_positives_usual: int
    """Wrong answers with the task's own rule."""


def settle(sample: Sample, point: OperatingPoint | None, temperature: float) -> Answering:
    """Return how a head's outputs are to become answers.

    Args:
        sample: answers to validation images, as they are without any of this.
    """
    if point is None:
        return Answering(temperature=temperature)
    thresholds: dict[str, float] = {}
    unpromised: list[str] = []
    for group in sample.tempered(temperature).candidates(point.positive):
        threshold, promised = _CHOOSE[point.aim](group, point)
        thresholds |= dict.fromkeys(group.names, threshold)
        unpromised += [] if promised else group.names
    return Answering(
        temperature=temperature,
        thresholds=thresholds,
        positive=point.positive,
        unsure=point.unsure,
        unpromised=tuple(unpromised),
    )


def kept(sample: Sample, point: OperatingPoint, answering: Answering, usual: float, weights: Weights) -> list[Kept]:
    """Return how an aim is kept.

    Args:
        sample: answers with the scores that ``answering`` gives them.
        usual: the score from which the task would answer without an operating point.
        weights: draws of the bootstrap.
    """
    found = []
    for group in sample.candidates(point.positive):
        threshold = answering.thresholds[group.names[0]]
        realising = _realising(group, point.aim, threshold)
        intervals = bootstrap.intervals(realising, weights, _cases(group, point.aim, threshold))
        found.append(
            Kept(
                classes=group.names,
                threshold=threshold,
                aim=point.aim,
                value=None if point.aim == "best" else float(getattr(point, point.aim)),
                promised=group.names[0] not in answering.unpromised,
                realised=intervals.get(point.aim),
                false_positives=int((group.wrong >= threshold).sum()),
                false_positives_usual=_usually_false(group, answering.tempered(usual)),
            )
        )
    return found


def _cases(group: Candidates, aim: str, threshold: float) -> int:
    """Return how many statements a quantity is a share of: answers, those to be found, or those that could be wrong."""
    if aim == "min_precision":
        return int((group.right >= threshold).sum() + (group.wrong >= threshold).sum())
    return int((group.positives if aim in ("min_recall", "best") else group.negatives).sum())


def _usually_false(group: Candidates, usual: float) -> int:
    """Return how many wrong statements are made without an operating point."""
    return int((group.wrong >= usual).sum() if group.usual is None else group.usual.sum())


def lines(found: Sequence[Kept]) -> list[str]:
    """Return how an aim is kept, for a person."""
    told = []
    for one in found:
        who = ", ".join(one.classes) if len(one.classes) < _NAMED else f"all {len(one.classes)} classes"
        aim = f"{one.aim} {one.value:g}" if one.value is not None else "best f1"
        came = f"{one.realised.value:.3f} ({one.realised.low:.3f} to {one.realised.high:.3f})" if one.realised else "-"
        doubt = "" if one.promised else "; too few validation images to promise it"
        false = f"{one.false_positives} false positives, {one.false_positives_usual} without"
        told.append(f"{who} from {one.threshold:.3f}: {aim}, realised {came}; {false}{doubt}")
    return told


def _realising(group: Candidates, aim: str, threshold: float) -> Callable[[Weights], dict[str, Values]]:
    """Return what gives the quantity that an aim is of, under weightings."""
    right, wrong = (
        np.bincount(images[scores >= threshold], minlength=len(group.positives)).astype(np.float64)
        for images, scores in ((group.right_images, group.right), (group.wrong_images, group.wrong))
    )

    def realised(weights: Weights) -> dict[str, Values]:
        hits, false, true = weights @ right, weights @ wrong, weights @ group.positives
        quantities = {
            "min_recall": ratio(hits, true),
            "min_precision": ratio(hits, hits + false),
            "best": ratio(2 * hits, hits + false + true),
        }
        return {aim: quantities.get(aim, ratio(false, weights @ group.negatives))}

    return realised


def by_false(group: Candidates, most: float) -> tuple[float, bool]:
    """Return the least threshold at which new images keep to a rate of wrong answers, and whether that is promised.

    Of n images that could be answered wrongly, k wrong answers are let through; new ones are to be expected at a rate
    of (k + b) / (n + 1), where an image can have b of them at most: 1, or as many boxes as any image here has.

    Source: Angelopoulos et al. 2024, arXiv:2208.02814 (conformal risk control), theorem 1.
    """
    count = float(group.negatives.sum())
    if not count:
        return _EVEN, False
    bound = int(np.bincount(group.wrong_images).max(initial=1))
    through = math.floor(most * (count + 1) + 1e-9) - bound
    wrong = np.sort(group.wrong)[::-1]
    if through >= len(wrong) or not len(wrong):
        return 0.0, through >= 0
    return _between(float(wrong[max(through, 0)]), group, True), through >= 0


def by_recall(group: Candidates, least: float) -> tuple[float, bool]:
    """Return the highest threshold at which new ones are found at a rate, and whether that is promised.

    A new image may hold as many as any image here, and all of them may be missed. Where the rate is not promised, the
    threshold is the highest one at which all are found that can be.

    Source: as `by_false`, of what is missed beyond the share that may be.
    """
    count = float(group.positives.sum())
    bound = float(group.positives.max(initial=1.0))
    missed = math.floor((1 - least) * count - least * bound + 1e-9)
    unseen = round(count) - len(group.right)
    if missed < unseen:
        return (_between(float(group.right.min()), group, False) if len(group.right) else _EVEN), False
    return _between(float(np.sort(group.right)[missed - unseen]), group, False), True


def by_precision(group: Candidates, least: float) -> tuple[float, bool]:
    """Return the least threshold from which on new answers are right at a rate, and whether that is promised.

    Of n answers here k are right; k / (n + b) of new ones are counted on, as if an image more had wrong ones only, as
    many as any image here has answers.
    """
    scores, hits, false = sweep(group)
    good = np.flatnonzero(hits / (hits + false + _most_in_an_image(group, scores)) >= least)
    if not len(good):
        return _between(float(scores[0]) if len(scores) else 1.0, group, True), False
    return _between(float(scores[good[-1]]), group, False), True


def by_f1(group: Candidates) -> tuple[float, bool]:
    """Return the threshold at which the harmonic mean of precision and recall is largest."""
    scores, hits, false = sweep(group)
    if not len(scores):
        return 0.0, False
    best = ratio(2 * hits, hits + false + group.positives.sum(), 0.0)
    return _between(float(scores[best.argmax()]), group, False), True


def sweep(group: Candidates) -> tuple[_Scores, _Scores, _Scores]:
    """Return all different scores, highest first, and how many right and wrong statements reach each."""
    scores = np.unique(np.concatenate([group.right, group.wrong]))[::-1]
    counts = (len(side) - np.searchsorted(np.sort(side), scores, side="left") for side in (group.right, group.wrong))
    hits, false = (one.astype(np.float64) for one in counts)
    return scores, hits, false


def _most_in_an_image(group: Candidates, scores: _Scores) -> NDArray[np.int64]:
    """Return the most statements of one image that reach each score."""
    told = np.concatenate([group.right, group.wrong])
    images = np.concatenate([group.right_images, group.wrong_images])
    order = np.lexsort((-told, images))
    _, first, counts = np.unique(images[order], return_index=True, return_counts=True)
    rank = np.empty(len(told), dtype=np.int64)
    rank[order] = np.arange(len(told)) - np.repeat(first, counts) + 1
    falling = np.argsort(-told, kind="stable")
    most = np.maximum.accumulate(rank[falling])
    return np.asarray(most[np.searchsorted(-told[falling], -scores, side="right") - 1])


def _between(score: float, group: Candidates, above: bool) -> float:
    """Return a threshold half way from a score to the next one above or below, so that no rounding decides.

    Above 1, and so never reached, where nothing lies above a score of 1.
    """
    others = np.concatenate([group.right, group.wrong])
    if above:
        return (score + float(others[others > score].min(initial=1.0))) / 2 if score < 1 else math.nextafter(1.0, 2.0)
    return (score + float(others[others < score].max(initial=0.0))) / 2


_CHOOSE: Mapping[str, Callable[[Candidates, OperatingPoint], tuple[float, bool]]] = {
    "max_false_positive_rate": lambda group, point: by_false(group, point.max_false_positive_rate or 0.0),
    "max_fp_per_image": lambda group, point: by_false(group, point.max_fp_per_image or 0.0),
    "min_recall": lambda group, point: by_recall(group, point.min_recall or 0.0),
    "min_precision": lambda group, point: by_precision(group, point.min_precision or 0.0),
    "best": lambda group, _point: by_f1(group),
}
