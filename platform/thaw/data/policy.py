"""Policy: RandAugment and TrivialAugment, which draw operations from a list where bounds would be tuned one by one.

The operations and their ranges are torchvision's; boxes and masks move along, and every draw comes from the sample's
own generator, of which torchvision's classes would know nothing.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from thaw.config.experiment import Augment
from thaw.data.scene import Scene


@dataclass(frozen=True)
class Operation:
    """One way to change a scene.

    Attributes:
        change: does it, by an amount.
        usual, wide: the amount at full strength, under RandAugment and under TrivialAugment.
        either_way: whether the amount may as well be negative.
    """

    change: Callable[[Scene, float], Scene]
    usual: float
    wide: float
    either_way: bool = True


def applied(scene: Scene, options: Augment, random: np.random.Generator) -> Scene:
    """Return the scene changed by the policy that is asked for."""
    for name, amount in drawn(options, random):
        scene = OPERATIONS[name].change(scene, amount)
    return scene


def drawn(options: Augment, random: np.random.Generator) -> list[tuple[str, float]]:
    """Return the names of the operations that are due, in their order, with the amount of each.

    Source: RandAugment, Cubuk et al. 2020, arXiv:1909.13719; TrivialAugment with its wide ranges, Müller and Hutter
    2021, arXiv:2103.10158.
    """
    match options.policy:
        case "randaugment":
            return [_one(options.policy_strength, "usual", random) for _ in range(options.policy_ops)]
        case "trivialaugment":
            return [_one(options.policy_strength * random.random(), "wide", random)]
    return []


def _one(strength: float, span: Literal["usual", "wide"], random: np.random.Generator) -> tuple[str, float]:
    name = list(OPERATIONS)[int(random.integers(len(OPERATIONS)))]
    one = OPERATIONS[name]
    amount = strength * (one.wide if span == "wide" else one.usual)
    return name, -amount if one.either_way and random.random() < 0.5 else amount


def _shear(across: int, down: int) -> Callable[[Scene, float], Scene]:
    """Return what shears by a share of the distance from the centre, along one side."""

    def change(scene: Scene, amount: float) -> Scene:
        angle = math.degrees(math.atan(amount))
        return scene.warped(shear=(across * angle, down * angle)) if amount else scene

    return change


def _shift(across: int, down: int) -> Callable[[Scene, float], Scene]:
    """Return what shifts by a share of one side, in whole pixels, so that nothing is blurred."""

    def change(scene: Scene, amount: float) -> Scene:
        height, width = scene.image.shape[-2:]
        pixels = (float(int(across * amount * width)), float(int(down * amount * height)))
        return scene.warped(shift=pixels) if any(pixels) else scene

    return change


def _turned(scene: Scene, amount: float) -> Scene:
    return scene.warped(angle=amount) if amount else scene


def _by_factor(change: Callable[[Tensor, float], Tensor]) -> Callable[[Scene, float], Scene]:
    return lambda scene, amount: scene.showing(change(scene.image, 1 + amount))


def _posterized(scene: Scene, amount: float) -> Scene:
    return scene.showing(F.posterize(scene.image, bits=8 - round(amount)))


def _solarized(scene: Scene, amount: float) -> Scene:
    return scene.showing(F.solarize(scene.image, threshold=255 * (1 - amount))) if amount else scene


OPERATIONS: Mapping[str, Operation] = {
    "identity": Operation(lambda scene, _: scene, 0, 0, either_way=False),
    "shear x": Operation(_shear(1, 0), 0.3, 0.99),
    "shear y": Operation(_shear(0, 1), 0.3, 0.99),
    "shift x": Operation(_shift(1, 0), 150 / 331, 32 / 224),
    "shift y": Operation(_shift(0, 1), 150 / 331, 32 / 224),
    "rotate": Operation(_turned, 30, 135),
    "brightness": Operation(_by_factor(F.adjust_brightness), 0.9, 0.99),
    "saturation": Operation(_by_factor(F.adjust_saturation), 0.9, 0.99),
    "contrast": Operation(_by_factor(F.adjust_contrast), 0.9, 0.99),
    "sharpness": Operation(_by_factor(F.adjust_sharpness), 0.9, 0.99),
    "posterize": Operation(_posterized, 4, 6, either_way=False),
    "solarize": Operation(_solarized, 1, 1, either_way=False),
    "autocontrast": Operation(lambda scene, _: scene.showing(F.autocontrast(scene.image)), 0, 0, either_way=False),
    "equalize": Operation(lambda scene, _: scene.showing(F.equalize(scene.image)), 0, 0, either_way=False),
}
"""Name -> operation. TrivialAugment shifts by up to 32 pixels of ImageNet's 224; here images come in all sizes."""
