"""Axes: vectors along their principal axes, where the best linear head is found in few steps.

A turn of the features changes neither a linear head's answers nor the norm of its weights, so the head is the same one
that thaw.probe.linear finds; only the way there is shorter, for many fits on the same images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from thaw.probe.descent import descend

_MOST_STEPS = 60
_TOLERANCE = 1e-3
"""Largest derivative, along axes brought to one curvature: what is left costs no answer that counts."""
_LEAST_SPREAD = 1e-7
"""Axes with a smaller share of the largest variance are rounding."""


@dataclass(frozen=True)
class Axes:
    """Which directions vectors differ in, once every feature has variance 1.

    Attributes:
        mean: (D,) of the features.
        turn: (D, K) features to axes, scaling included.
        spread: (K,) variance along each axis, smallest first.
    """

    mean: Tensor
    turn: Tensor
    spread: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Self:
        """Return the axes of (N, D) vectors."""
        features = vectors.double()
        mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
        scale = torch.where(std > 1e-6 * std.max(), 1 / std, 0.0)  # what never changes tells nothing
        features = (features - mean) * scale
        spread, turn = torch.linalg.eigh(features.T @ features / len(features))
        kept = spread > _LEAST_SPREAD * spread.max()
        return cls(mean, scale[:, None] * turn[:, kept], spread[kept].float())

    def places(self, vectors: Tensor) -> Tensor:
        """Return (N, K) float32: where vectors lie along the axes."""
        return ((vectors.double() - self.mean) @ self.turn).float()


@dataclass(frozen=True)
class Head:
    """A linear head on places.

    Attributes:
        weight: (C, K).
        bias: (C,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def blank(cls, axes: Axes, classes: int) -> Self:
        """Return a head that answers nothing yet."""
        return cls(torch.zeros(classes, len(axes.spread)), torch.zeros(classes))

    def __call__(self, places: Tensor) -> Tensor:
        """Return (N, C) outputs."""
        return torch.addmm(self.bias, places, self.weight.T)


def fit(start: Head, axes: Axes, places: Tensor, loss: Callable[[Tensor], Tensor], penalty: float) -> Head:
    """Return the head with the least loss plus penalty.

    Args:
        start: where the way begins; the nearer, the shorter.
        places: (N, K) of the images that are learnt from.
        loss: of their (N, C) outputs, convex.
        penalty: share of half the squared norm of the weights; the bias is not penalised.
    """
    classes = len(start.bias)
    curvature = max(classes - 1, 1) / classes**2  # of a mean cross-entropy where nothing is known yet
    scale = torch.rsqrt(curvature * axes.spread + penalty)
    scaled, penalties = places * scale, penalty / 2 * scale.square()
    weight, bias = (start.weight / scale).requires_grad_(), start.bias.clone().requires_grad_()

    def value() -> Tensor:
        return loss(torch.addmm(bias, scaled, weight.T)) + (penalties * weight.square()).sum()

    descend([weight, bias], value, _MOST_STEPS, _TOLERANCE)
    return Head((weight * scale).detach(), bias.detach())
