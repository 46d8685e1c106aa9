"""Augmentation: random changes of training images, one function each.

Every draw comes from a generator seeded by (seed, epoch, sample id): the number of workers, their order and a
restart change nothing. Turns, shifts and zooms are one resampling, not three.
"""

import hashlib

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from thaw.config.experiment import Augment
from thaw.data.preprocess import PAD


def generator(seed: int, epoch: int, sample_id: str) -> np.random.Generator:
    """Return the random generator of one sample in one epoch."""
    key = hashlib.blake2b(f"{seed}/{epoch}/{sample_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "little"))


def augment(image: Tensor, options: Augment, random: np.random.Generator) -> Tensor:
    """Return a randomly changed (3, H, W) uint8 image of the same size."""
    for change in (_flip, _move, _colour, _blur):
        image = change(image, options, random)
    return image


def _flip(image: Tensor, options: Augment, random: np.random.Generator) -> Tensor:
    if random.random() < options.hflip:
        image = F.horizontal_flip(image)
    if random.random() < options.vflip:
        image = F.vertical_flip(image)
    return image


def _move(image: Tensor, options: Augment, random: np.random.Generator) -> Tensor:
    """Rotate, shift and zoom about the centre."""
    height, width = image.shape[-2:]
    angle = random.uniform(-options.rotate, options.rotate)
    shift = random.uniform(-options.shift, options.shift, size=2)
    scale = random.uniform(*options.zoom)
    if angle == 0 and scale == 1 and not shift.any():
        return image
    pixels = [float(shift[0] * width), float(shift[1] * height)]
    moved: Tensor = F.affine(
        image, angle, pixels, scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR, fill=PAD
    )
    return moved


def _colour(image: Tensor, options: Augment, random: np.random.Generator) -> Tensor:
    changes = (
        (F.adjust_brightness, options.brightness),
        (F.adjust_contrast, options.contrast),
        (F.adjust_saturation, options.saturation),
    )
    for change, bound in changes:
        if bound:
            image = change(image, 1 + random.uniform(-bound, bound))
    return F.adjust_hue(image, random.uniform(-options.hue, options.hue)) if options.hue else image


def _blur(image: Tensor, options: Augment, random: np.random.Generator) -> Tensor:
    if random.random() >= options.blur or min(image.shape[-2:]) <= 3:  # reflects 3 pixels beyond each edge
        return image
    blurred: Tensor = F.gaussian_blur(image, kernel_size=[7, 7], sigma=[random.uniform(0.1, 2.0)])
    return blurred
