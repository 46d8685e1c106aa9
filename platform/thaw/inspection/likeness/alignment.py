"""Alignment: how well one image, or a window of it, can be laid onto another, and where.

Pairs are compared by the correlation of their coefficients, each weighed by its frequency. The window is moved to where
that is highest, in ever smaller steps. Then those waves are also looked at alone that go neither straight across nor
straight down: two photographs of a beam or a horizon are alike but for these.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from thaw.inspection.likeness import windows
from thaw.inspection.likeness.windows import KEPT, WIDEST

_PACES = (8, 4, 2, 2, 1)
"""Units by which edges move at a time, one round each."""
_MOVES = tuple((first, last) for first in (-1, 0, 1) for last in (-1, 0, 1) if first or last)
_AT_ONCE = 8192


@dataclass(frozen=True)
class Laid:
    """Where windows of C images lie, and how well they fit.

    Attributes:
        cuts: (C, 2, 2) down and across, at beginning and end, in units of `windows`.
        scores: (C,) correlation, at most 1; 0 where an image shows nothing.
    """

    cuts: Tensor
    scores: Tensor


def lay(whole: Tensor, other: Tensor, cuts: Tensor) -> Laid:
    """Return how windows of images fit onto others, each moved from where it is to where it fits best.

    Args:
        whole: (C, SIDE, SIDE) coefficients of the images of which windows are taken.
        other: (C, SIDE, SIDE) of those that they are laid onto.
        cuts: (C, 2, 2) where to begin.
    """
    parts = [
        _lay(*(one[first : first + _AT_ONCE] for one in (whole, other, cuts)))
        for first in range(0, len(whole), _AT_ONCE)
    ]
    none = Laid(cuts, torch.zeros(len(cuts)))
    return Laid(*(torch.cat([getattr(one, name) for one in parts or [none]]) for name in ("cuts", "scores")))


def _lay(whole: Tensor, other: Tensor, cuts: Tensor) -> Laid:
    table = windows.along()
    target = table[0, 0] @ other @ table[0, 0].T
    cuts = cuts.clone()
    best = _alike(_window(whole, cuts), target)
    for pace in _PACES:
        for axis in (0, 1):
            best = _move(whole, target, cuts, best, pace, axis)
    shown = _window(whole, cuts)
    return Laid(cuts, torch.minimum(best, _alike(shown[:, 1:, 1:], target[:, 1:, 1:], start=1)))


def _move(whole: Tensor, target: Tensor, cuts: Tensor, best: Tensor, pace: int, axis: int) -> Tensor:
    """Move windows along one axis to the best place one pace away, and return how well they fit there."""
    table, here, across = windows.along(), cuts[:, axis].clone(), cuts[:, 1 - axis]
    fixed = table[across[:, 0], across[:, 1]]
    half = whole @ fixed.mT if axis == 0 else fixed @ whole
    for move in _MOVES:
        there = (here + pace * torch.tensor(move)).clamp(0, WIDEST)
        moving = table[there[:, 0], there[:, 1]]
        score = _alike(moving @ half if axis == 0 else half @ moving.mT, target)
        better = score > best
        cuts[better, axis] = there[better]
        best = torch.where(better, score, best)
    return best


def _window(whole: Tensor, cuts: Tensor) -> Tensor:
    table = windows.along()
    down, across = (table[cuts[:, axis, 0], cuts[:, axis, 1]] for axis in (0, 1))
    return down @ whole @ across.mT


def _alike(one: Tensor, other: Tensor, start: int = 0) -> Tensor:
    """Return (C,) the correlation of coefficients, the first of which are of frequency ``start``."""
    each = torch.arange(start, KEPT, dtype=torch.float32)
    weights = torch.hypot(each[:, None], each)  # 0 for the mean grey
    one, other = (one * weights).flatten(1), (other * weights).flatten(1)
    alike: Tensor = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1)).clamp_min(1e-9)
    return alike
