"""Preprocess: the one way an image is brought to model size, in training and in serving.

Geometry only. Scaling to [0, 1] and mean/std belong to the model (see thaw.model), so pixels travel as
uint8 and neither half can drift between training and serving.
"""

from typing import Any, Self

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from thaw.config.experiment import Fit, Image
from thaw.data.placement import Placement, Rectangle


class Preprocess(BaseModel):
    """How an image of any size becomes a square of ``size`` pixels; saved in the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    fit: Fit

    @classmethod
    def of(cls, image: Image) -> Self:
        """Return the preprocessing that an experiment asks for."""
        return cls(size=image.size, fit=image.fit)

    def __call__(self, image: Tensor) -> Tensor:
        """Return (3, size, size) uint8 pixels of a (3, H, W) uint8 image."""
        height, width = image.shape[-2:]
        return self.place(height, width).image(image)

    def place(self, height: int, width: int) -> Placement:
        """Return where an image of so many pixels lies in the input."""
        seen = Rectangle(0, 0, width, height)
        if self.fit == "crop":
            side = min(height, width)
            seen = Rectangle(round((width - side) / 2), round((height - side) / 2), side, side)
        if self.fit == "letterbox":
            wide, high = (max(1, round(edge * self.size / max(height, width))) for edge in (width, height))
            filled = Rectangle((self.size - wide) // 2, (self.size - high) // 2, wide, high)
        else:
            filled = Rectangle(0, 0, self.size, self.size)
        return Placement(height, width, self.size, seen, filled)


def as_tensor(pixels: NDArray[Any]) -> Tensor:
    """Return a (3, H, W) view of (H, W, 3) uint8 pixels."""
    return torch.from_numpy(pixels).permute(2, 0, 1)
