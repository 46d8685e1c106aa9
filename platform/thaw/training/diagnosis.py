"""Diagnosis: what the curves of a run say of each task, and what to do about it; a pure function of the history.

Training and validation are compared on one footing: unchanged training images answered as validation images are
(``Epoch.plain_loss``, ``train_metrics``). ``train_loss`` is compared with itself alone, for it is of changed images,
with dropout, perhaps of mixtures, averaged while the weights moved. Curves are noisy and short, so nothing is concluded
from a single epoch but that a loss is far above that of an untrained model, and no gap that the number of
images explains counts. A border of phases makes curves jump: what asks whether something still moves looks at the
present phase, what asks where something was best at all of them.

How sure it is: overfitting and divergence are seen in what defines them. Underfitting is seen by its symptom; whether
rates, frozen groups or the images are to blame is for the user to try, in the order given. Label noise is a
suspicion: wrong answers that are as sure as the right ones. Wrong labels look so, because nothing in such an image
speaks for its label; but so do images that nothing in the model's view tells apart. It needs classification, some
15 wrong answers on validation images, and a model well above chance.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from thaw.training.loop import Epoch

Kind = Literal["learning", "plateau", "overfitting", "underfitting", "diverging", "label noise suspected"]

_WORSE = 1.3
"""A training loss above an untrained model's by this factor has diverged; twice that in the very first epoch."""
_GAP = 0.2
"""Least difference between a metric on training and on validation images that counts as large."""
_RISEN = 1.1
"""A validation loss above its least one by this factor has risen."""
_BY_HEART = 0.95
"""From this value of its metric on training images on, a task has no more to learn from them."""
_UNFITTED, _LEFT = 0.85, 0.5
"""Underfitting: a metric on training images below the first, and more than the second share of the first loss left."""
_SLOW = 0.05
"""Share of the first loss by which a training loss falls at least in three epochs while it learns."""
_UNAWARE, _WRONG = 0.62, 15
"""Label noise: right and wrong answers told apart no better than this (AUROC), over at least so many wrong ones."""


class Diagnosis(BaseModel):
    """What is to be said of one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    kind: Kind
    since_epoch: int
    evidence: str
    """The figures that it was concluded from."""
    action: str
    """What to change, by the names of settings; empty where nothing is to be changed."""

    def line(self) -> str:
        """Return one line for a person."""
        action = f"; {self.action}" if self.action else ""
        return f"{self.task}: {self.kind} since epoch {self.since_epoch}: {self.evidence}{action}"


@dataclass(frozen=True)
class Subject:
    """What the curves of a task do not tell.

    Attributes:
        metric: its best metric.
        val_images, train_images: how many labelled images metrics are of; an upper bound will do.
        chance: the metric of always giving the most frequent answer; 0 where there is no such.
    """

    metric: str
    val_images: int
    train_images: int
    chance: float = 0.0


def diagnose(history: Sequence[Epoch], subjects: Mapping[str, Subject]) -> list[Diagnosis]:
    """Return a diagnosis of every task that has trained, after the last epoch of the history."""
    return [
        _of(_Curves(name, subject, history))
        for name, subject in subjects.items()
        if history and name in history[-1].train_loss
    ]


def news(history: Sequence[Epoch], subjects: Mapping[str, Subject]) -> list[str]:
    """Return a line for every task whose diagnosis is another than after the epoch before; learning is no news."""
    before = {one.task: one.kind for one in diagnose(history[:-1], subjects)}
    now = diagnose(history, subjects)
    return [one.line() for one in now if one.kind != before.get(one.task, "learning")]


@dataclass(frozen=True)
class _Curves:
    """One task's curves."""

    task: str
    subject: Subject
    history: Sequence[Epoch]

    @property
    def place(self) -> str:
        """The phase that the last epoch belongs to, as settings name it."""
        return f"finetune.phases[{self.history[-1].phase}]"

    @property
    def phase(self) -> "_Curves":
        """The same task's curves in the present phase."""
        present = [epoch for epoch in self.history if epoch.phase == self.history[-1].phase]
        return _Curves(self.task, self.subject, present)

    @property
    def untrained(self) -> float | None:
        return self.history[0].first_loss.get(self.task)

    @property
    def train(self) -> list[float]:
        return [epoch.train_loss.get(self.task, math.nan) for epoch in self.history]

    @property
    def plain(self) -> list[float]:
        """Loss on unchanged training images, or on the changed ones where no others are looked at."""
        return [epoch.plain_loss.get(self.task, epoch.train_loss.get(self.task, math.nan)) for epoch in self.history]

    @property
    def val_loss(self) -> list[float]:
        return [epoch.val_loss.get(self.task, math.nan) for epoch in self.history]

    @property
    def fit(self) -> list[float]:
        return [epoch.train_metrics.get(self.task, {}).get(self.subject.metric, math.nan) for epoch in self.history]

    @property
    def val(self) -> list[float]:
        return self.metric(self.subject.metric)

    def metric(self, name: str) -> list[float]:
        return [epoch.metrics.get(self.task, {}).get(name, math.nan) for epoch in self.history]

    def since(self, place: int) -> int:
        return self.history[min(place, len(self.history) - 1)].epoch

    def says(self, kind: Kind, place: int, evidence: str, action: str = "") -> Diagnosis:
        return Diagnosis(task=self.task, kind=kind, since_epoch=self.since(place), evidence=evidence, action=action)


def _of(curves: _Curves) -> Diagnosis:
    checks = (_diverging, _label_noise, _overfitting, _underfitting, _plateau)
    found: Iterator[Diagnosis] = (said for check in checks if (said := check(curves)) is not None)
    return next(found, None) or _learning(curves)


def _diverging(curves: _Curves) -> Diagnosis | None:
    train, untrained = curves.train, curves.untrained
    if untrained is None:
        return None
    action = f"lower {curves.place}.rates, to a third at first, or raise {curves.place}.warmup"
    if train[-1] > untrained * (_WORSE if len(train) > 1 else 2 * _WORSE):
        place = next(place for place in range(len(train)) if min(train[place:]) > untrained)
        evidence = f"training loss {train[-1]:.3g}, an untrained model's is {untrained:.3g}"
        return curves.says("diverging", place, evidence, action)
    if len(train) < 3:
        return None
    at = min(range(len(train) - 2), key=train.__getitem__)
    limit = max(_WORSE * train[at], train[at] + 0.25 * (untrained - train[at]))
    if min(train[-2:]) > limit and train[-1] > 0.9 * train[-2]:
        evidence = f"training loss {train[-1]:.3g}, was {train[at]:.3g} after epoch {curves.since(at)}"
        place = next(place for place in range(at + 1, len(train)) if min(train[place:]) > limit)
        return curves.says("diverging", place, evidence, action)
    return None


def _label_noise(curves: _Curves) -> Diagnosis | None:
    val, aware = curves.val, curves.metric("auroc_right")
    if len(val) < 3 or any(map(math.isnan, val)):
        return None
    at = max(range(len(val)), key=val.__getitem__)
    told = [value for value, good in zip(aware, val, strict=True) if good >= val[at] - 0.05 and not math.isnan(value)]
    wrong = (1 - val[at]) * curves.subject.val_images
    sure = val[at] - curves.subject.chance > max(0.1, 2 * _spread(val[at], curves.subject.val_images))
    if not told or wrong < _WRONG or not sure or sum(told) / len(told) > _UNAWARE or not _stalled(curves, 2):
        return None
    evidence = (
        f"{1 - val[at]:.0%} of the answers to validation images differ from their labels, and are as sure as the "
        f"others (AUROC {sum(told) / len(told):.2f})"
    )
    action = (
        f"look through the labels of what `thaw evaluate` answers otherwise and mend them; until then set "
        f"tasks.{curves.task}.label_smoothing to 0.1 and stop early (finetune.early_stopping.patience)"
    )
    since = next(place for place, good in enumerate(val) if good >= val[at] - 0.05)
    return curves.says("label noise suspected", since, evidence, action)


def _overfitting(curves: _Curves) -> Diagnosis | None:
    rise = _rise(curves)
    gaps = [fit - val for fit, val in zip(curves.fit, curves.val, strict=True)]
    least = max(_GAP, 2 * _gap_spread(curves))
    fit, gap = curves.fit[-1], sum(gaps[-2:]) / len(gaps[-2:])
    wide = gap >= least and gaps[-1] >= least and (fit >= _BY_HEART or _stalled(curves, 2))
    if not wide and (rise is None or gap < least / 4):
        return None
    evidence, place = [], rise if rise is not None else len(gaps) - 1
    if not math.isnan(gap):
        evidence = [f"{curves.subject.metric} {fit:.2f} on training images, {curves.val[-1]:.2f} on new ones"]
    if wide:
        place = next(place for place in range(len(gaps)) if min(gaps[place:]) >= least)
    if rise is not None:
        place = min(place, rise)
        evidence.append(f"validation loss {curves.val_loss[-1]:.3g}, was {min(curves.val_loss):.3g}")
    return curves.says("overfitting", place, ", ".join(evidence), _against_overfitting(curves))


def _against_overfitting(curves: _Curves) -> str:
    fewer = f"lower {curves.place}.depth and .rates.backbone, " if curves.history[-1].depth else ""
    return (
        f"raise data.augment (rotate, zoom, brightness, mixup), {fewer}raise model.dropout; label more images if "
        "you can"
    )


def _rise(curves: _Curves) -> int | None:
    """Return the place from which the validation loss rises while that on training images falls, if it does so now."""
    losses, plain = _smooth(curves.val_loss), curves.plain
    if len(losses) < 3 or any(map(math.isnan, (*losses, *plain))):
        return None
    at = min(range(len(losses) - 2), key=losses.__getitem__)
    risen = min(losses[-2:]) > _RISEN * losses[at] and plain[-1] < plain[at]
    return at + 1 if risen and _stalled(curves, 2) else None


def _underfitting(curves: _Curves) -> Diagnosis | None:
    phase, untrained = curves.phase, curves.untrained
    if untrained is None or len(phase.history) < 3:
        return None
    fit, plain = curves.fit[-1], phase.plain
    if fit >= _UNFITTED or plain[-1] < _LEFT * untrained or plain[-3] - plain[-1] > _SLOW * untrained:
        return None
    first = f"raise {curves.place}.rates"
    opened = f"{curves.place}.depth"
    action = f"{first} or open more layer groups ({opened})" if curves.history[-1].depth == 0 else f"{first} or .epochs"
    shown = "" if math.isnan(fit) else f"{curves.subject.metric} {fit:.2f} even on training images, "
    evidence = f"{shown}loss on these {plain[-1]:.3g}, an untrained model's is {untrained:.3g}"
    before = len(curves.history) - len(plain)
    since = next(place for place, loss in enumerate(plain) if loss - plain[-1] <= _SLOW * untrained)
    return curves.says("underfitting", before + since, evidence, f"{action}; use less of data.augment")


def _plateau(curves: _Curves) -> Diagnosis | None:
    phase = curves.phase
    if len(phase.history) < 4 or not _stalled(phase, 3):
        return None
    at = max(range(len(curves.val)), key=curves.val.__getitem__)
    evidence = f"{curves.subject.metric} {curves.val[at]:.3f} on validation images, no better since"
    action = (
        ""
        if curves.val[at] > 1 - _spread(1.0, curves.subject.val_images)
        else f"{curves.place}.epochs may be fewer (finetune.early_stopping.patience ends it); open more layer groups "
        "(finetune.phases) or label more images"
    )
    return curves.says("plateau", at, evidence, action)


def _learning(curves: _Curves) -> Diagnosis:
    if len(curves.history) < 2:
        return curves.says("learning", 0, "too early to say more")
    return curves.says("learning", 0, f"validation loss {curves.val_loss[0]:.3g} -> {curves.val_loss[-1]:.3g}")


def _stalled(curves: _Curves, epochs: int) -> bool:
    """Return whether the last epochs brought the validation metric no further than it was before them."""
    before, last = curves.val[:-epochs], curves.val[-epochs:]
    if not before or any(map(math.isnan, (*before, *last))):
        return False
    return max(last) <= max(before) + _spread(max(before), curves.subject.val_images) / 2


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the median of each value and its neighbours: the least of many noisy values is low by chance alone."""
    return [statistics.median(values[max(0, place - 1) : place + 2]) for place in range(len(values))]


def _gap_spread(curves: _Curves) -> float:
    """Return the standard error of the gap between training and validation images."""
    own, other = curves.subject.train_images, curves.subject.val_images
    return math.hypot(_spread(curves.fit[-1], own), _spread(curves.val[-1], other))


def _spread(share: float, images: int) -> float:
    """Return the standard error of a share of images, as if it was never nearer to 0 or 1 than a tenth."""
    kept = min(0.9, max(0.1, share))
    return math.sqrt(kept * (1 - kept) / max(1, images))
