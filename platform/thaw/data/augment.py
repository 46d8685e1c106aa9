"""Augmentation: random changes of training images, one function each; boxes and masks move along.

Every draw comes from a generator seeded by (seed, epoch, sample id): the number of workers, their order and a
restart change nothing. Turns, shifts and zooms are one resampling, not three.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from thaw.config.experiment import Augment
from thaw.data import policy
from thaw.data.scene import Scene


def generator(seed: int, epoch: int, sample_id: str) -> np.random.Generator:
    """Return the random generator of one sample in one epoch."""
    key = hashlib.blake2b(f"{seed}/{epoch}/{sample_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "little"))


def augment(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    """Return a randomly changed scene of the same size; boxes may then lie partly or wholly outside of it."""
    for change in (_flip, _move, _colour, _blur):
        scene = change(scene, options, random)
    return policy.applied(scene, options, random)


def _flip(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    if random.random() < options.hflip:
        scene = scene.each(F.horizontal_flip)
    if random.random() < options.vflip:
        scene = scene.each(F.vertical_flip)
    return scene


def _move(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    """Rotate, shift and zoom about the centre."""
    height, width = scene.image.shape[-2:]
    angle = random.uniform(-options.rotate, options.rotate)
    shift = random.uniform(-options.shift, options.shift, size=2)
    scale = random.uniform(*options.zoom)
    if angle == 0 and scale == 1 and not shift.any():
        return scene
    return scene.warped(angle, (float(shift[0] * width), float(shift[1] * height)), scale)


def _colour(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    changes: tuple[tuple[Callable[[Tensor, float], Tensor], float], ...] = (
        (F.adjust_brightness, options.brightness),
        (F.adjust_contrast, options.contrast),
        (F.adjust_saturation, options.saturation),
    )
    image = scene.image
    for change, bound in changes:
        if bound:
            image = change(image, 1 + random.uniform(-bound, bound))
    if options.hue:
        image = F.adjust_hue(image, random.uniform(-options.hue, options.hue))
    return scene.showing(image)


def _blur(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    if random.random() >= options.blur or min(scene.image.shape[-2:]) <= 3:  # reflects 3 pixels beyond each edge
        return scene
    return scene.showing(F.gaussian_blur(scene.image, kernel_size=[7, 7], sigma=[random.uniform(0.1, 2.0)]))
