"""Anchors: which sizes of boxes each map of a pyramid looks for, and where on the image its places lie.

What is found at a place is not decided here; every detector does that in its own way.
"""

from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from thaw.config.parts import Section

FEWEST = 20
"""Boxes below which their sizes say too little to derive anchors from."""
USUAL = 8
"""Side of a usual anchor, in places of its map; that of torchvision's detectors."""
_FINEST, _COARSEST = 2, 16
"""Smallest and largest side of an anchor, in places of its map: beyond them another map sees such boxes better."""
_APART = 1.25
"""Each map's anchors are at least so many times as large as those of the map before."""
_SPREAD = 1.4
"""The flat and the tall shape differ at least by this factor from the middle one."""


class Anchors(Section):
    """The boxes that a detector looks for."""

    sizes: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Square root of a box's area in pixels of the input: one for each map that the head looks at, finest first."""
    ratios: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    """Heights by widths at every place; fcos has no use for them."""

    @model_validator(mode="after")
    def _grow(self) -> Self:
        if any(small >= large for small, large in zip(self.sizes, self.sizes[1:], strict=False)):
            raise ValueError(f"sizes {list(self.sizes)} must grow from map to map")
        return self


def usual(strides: Sequence[float]) -> Anchors:
    """Return anchors that depend on no data: eight places long on every map."""
    return Anchors(sizes=tuple(USUAL * float(stride) for stride in strides))


def derive_anchors(boxes: NDArray[np.float32], strides: Sequence[float]) -> Anchors:
    """Return anchors whose sizes and shapes are quantiles of those of the training boxes.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the model's input; those without an area are passed over. Fewer
            than `FEWEST` give the usual anchors.
        strides: pixels of the input per place of each map that the head looks at, finest first.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).reshape(-1, 2)
    sides = sides[(sides > 0).all(axis=1)]
    if len(sides) < FEWEST:
        return usual(strides)
    sizes = _sizes(np.sqrt(sides.prod(axis=1)), strides)
    return Anchors(sizes=sizes, ratios=_ratios(sides[:, 1] / sides[:, 0]))


def _sizes(found: NDArray[np.float64], strides: Sequence[float]) -> tuple[float, ...]:
    shares = (np.arange(len(strides)) + 0.5) / len(strides)
    sizes: list[float] = []
    for wanted, stride in zip(np.quantile(found, shares).tolist(), strides, strict=True):
        fitting = min(max(wanted, _FINEST * stride), _COARSEST * stride)
        sizes.append(round(max(fitting, sizes[-1] * _APART if sizes else 0.0), 1))
    return tuple(sizes)


def _ratios(found: NDArray[np.float64]) -> tuple[float, ...]:
    flat, middle, tall = np.clip(np.quantile(found, [1 / 6, 1 / 2, 5 / 6]), 0.1, 10).tolist()
    return tuple(round(one, 3) for one in (min(flat, middle / _SPREAD), middle, max(tall, middle * _SPREAD)))


def margin(places: int, stride: float, size: int) -> float:
    """Return how far from the input's edge a map begins, in pixels.

    Convolutions without padding leave maps that do not reach over the whole input; these lie in its middle.
    """
    return max(0.0, size - places * stride) / 2


def centres(shape: Sequence[int], stride: float, size: int, corner: float) -> Tensor:
    """Return (H * W, 2) x, y of the places of a map, row by row, in pixels of the input.

    Args:
        shape: H, W.
        corner: where in its cell a place lies: 0 is the left upper corner, 0.5 the middle.
    """
    height, width = (
        (torch.arange(count, dtype=torch.float32) + corner) * stride + margin(count, stride, size) for count in shape
    )
    return torch.cartesian_prod(height, width).flip(1)
