"""Placement: how one image was laid into the model's square input, and how boxes and masks come back from it.

Two rectangles say it all: the part of the image that is seen, and the part of the input that it fills.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from thaw.metrics.masks import IGNORED

PAD = 114
"""Grey level around letterboxed images and behind rotated ones, on a scale of 0 to 255."""


@dataclass(frozen=True)
class Rectangle:
    """Whole pixels, from the left upper corner."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Placement:
    """Where an image of ``height`` x ``width`` pixels lies in an input of ``size`` x ``size``.

    Attributes:
        seen: part of the image that the model sees.
        filled: part of the input that it fills; the rest is grey.
    """

    height: int
    width: int
    size: int
    seen: Rectangle
    filled: Rectangle

    @classmethod
    def unchanged(cls, size: int) -> Self:
        """Return the placement of an image that is the input itself."""
        whole = Rectangle(0, 0, size, size)
        return cls(size, size, size, whole, whole)

    def image(self, image: Tensor) -> Tensor:
        """Return the (3, size, size) uint8 input of a (3, height, width) uint8 image."""
        return self._laid(image, InterpolationMode.BILINEAR, PAD)

    def mask(self, mask: Tensor) -> Tensor:
        """Return the (size, size) mask of an (height, width) one; `IGNORED` where the image does not reach."""
        return self._laid(mask.unsqueeze(0), InterpolationMode.NEAREST_EXACT, IGNORED)[0]

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 4) x0, y0, x1, y1 of the image in pixels of the input; parts may lie outside of it."""
        return ((boxes - _corner(self.seen)) * self._scale() + _corner(self.filled)).astype(np.float32)

    def boxes_back(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 4) boxes of the input in pixels of the image, cut where they leave it."""
        found = (boxes.astype(np.float64) - _corner(self.filled)) / self._scale() + _corner(self.seen)
        limits = np.array([self.width, self.height] * 2, dtype=np.float64)
        return np.clip(found, 0, limits).astype(np.float32)

    def mask_back(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the (height, width) mask of a (size, size) one; `IGNORED` where the model saw nothing."""
        seen, filled = self.seen, self.filled
        part = torch.from_numpy(mask)[filled.top : filled.top + filled.height, filled.left : filled.left + filled.width]
        sized = _resized(part.unsqueeze(0), seen.height, seen.width, InterpolationMode.NEAREST_EXACT)[0]
        whole = np.full((self.height, self.width), IGNORED, dtype=np.uint8)
        whole[seen.top : seen.top + seen.height, seen.left : seen.left + seen.width] = sized.numpy()
        return whole

    def _scale(self) -> NDArray[np.float64]:
        """Return pixels of the input per pixel of the image, by x, y, x, y."""
        return np.array([self.filled.width / self.seen.width, self.filled.height / self.seen.height] * 2)

    def _laid(self, image: Tensor, how: InterpolationMode, fill: int) -> Tensor:
        seen, filled = self.seen, self.filled
        part = image[..., seen.top : seen.top + seen.height, seen.left : seen.left + seen.width]
        right, below = self.size - filled.left - filled.width, self.size - filled.top - filled.height
        laid = _resized(part, filled.height, filled.width, how)
        if filled.left or filled.top or right or below:
            laid = F.pad(laid, [filled.left, filled.top, right, below], fill=fill)
        return laid


def _corner(part: Rectangle) -> NDArray[np.float64]:
    return np.array([part.left, part.top] * 2, dtype=np.float64)


def _resized(image: Tensor, height: int, width: int, how: InterpolationMode) -> Tensor:
    """Return (C, H, W) pixels at another size."""
    if image.shape[-2:] == (height, width):
        return image
    resized: Tensor = F.resize(image, [height, width], interpolation=how, antialias=how == InterpolationMode.BILINEAR)
    return resized
