"""Preprocess: the one way an image is brought to model size, in training and in serving.

Geometry only. Scaling to [0, 1] and mean/std belong to the model (see thaw.model), so pixels travel as
uint8 and neither half can drift between training and serving.
"""

from typing import Any, Self

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from thaw.config.experiment import Fit, Image

PAD = 114
"""Grey level around letterboxed images and behind rotated ones, on a scale of 0 to 255."""


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
        if self.fit == "stretch":
            return self._resize(image, self.size, self.size)
        height, width = image.shape[-2:]
        if self.fit == "crop":  # cut before resizing, or a very long image would grow beyond all memory
            return self._resize(F.center_crop(image, [min(height, width)]), self.size, self.size)
        scaled = (max(1, round(edge * self.size / max(height, width))) for edge in (height, width))
        return self._pad(self._resize(image, *scaled))

    def _resize(self, image: Tensor, height: int, width: int) -> Tensor:
        return image if image.shape[-2:] == (height, width) else F.resize(image, [height, width], antialias=True)

    def _pad(self, image: Tensor) -> Tensor:
        """Centre the image in a grey square."""
        height, width = image.shape[-2:]
        left, top = (self.size - width) // 2, (self.size - height) // 2
        padded: Tensor = F.pad(image, [left, top, self.size - width - left, self.size - height - top], fill=PAD)
        return padded


def as_tensor(pixels: NDArray[Any]) -> Tensor:
    """Return a (3, H, W) view of (H, W, 3) uint8 pixels."""
    return torch.from_numpy(pixels).permute(2, 0, 1)
