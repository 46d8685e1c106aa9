"""Mix: training images made of two: blended or patched for whole-image classes, pasted for boxes and masks.

Which images meet, and how, is drawn from the sample's own generator, so the number of workers changes nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors

from thaw.config.experiment import AnnotationKind, Augment
from thaw.data.labels import Boxes
from thaw.data.scene import Scene

_HIDDEN = 0.7
"""Share of a box from which it counts as hidden by what was pasted over it, or as part of what is pasted."""

_WITHIN = 0.75
"""Share of a box that must lie in its image for its content to be pasted; above `_HIDDEN`, so its box comes along."""


def blended(one: Tensor, other: Tensor, options: Augment, random: np.random.Generator) -> tuple[Tensor, float]:
    """Return a mixture of two (3, S, S) uint8 inputs, and the share of the first in it.

    Source: mixup, Zhang et al. 2018, arXiv:1710.09412; cutmix, Yun et al. 2019, arXiv:1905.04899.
    """
    both = options.mixup > 0 and options.cutmix > 0
    if options.cutmix and (not both or random.random() < 0.5):
        return _patched(one, other, float(random.beta(options.cutmix, options.cutmix)), random)
    share = float(random.beta(options.mixup, options.mixup))
    mixture = one.float() * share + other.float() * (1 - share)
    return mixture.round().to(torch.uint8), share


def _patched(one: Tensor, other: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """Put a rectangle of ``other`` in its own place over ``one``; the share told is that of the pixels kept."""
    size = one.shape[-1]
    side = round(size * float(np.sqrt(1 - share)))
    left, top = (int(random.integers(0, size - side + 1)) for _ in range(2))
    mixture = one.clone()
    mixture[:, top : top + side, left : left + side] = other[:, top : top + side, left : left + side]
    return mixture, 1 - side * side / (size * size)


def blended_targets(
    kind: AnnotationKind, classes: int, one: NDArray[Any], other: NDArray[Any], shares: Sequence[float]
) -> NDArray[np.float32]:
    """Return (B, C) shares of classes in mixtures, -1 throughout where either image has no label."""
    first, second = (_as_shares(kind, classes, targets) for targets in (one, other))
    share = np.asarray(shares, dtype=np.float32)[:, None]
    mixed: NDArray[np.float32] = first * share + second * (1 - share)
    mixed[((first < 0) | (second < 0)).any(axis=1)] = -1
    return mixed


def _as_shares(kind: AnnotationKind, classes: int, targets: NDArray[Any]) -> NDArray[np.float32]:
    if kind == "classes":
        return targets.astype(np.float32)
    hot: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[targets]
    hot[targets < 0] = -1
    return hot


def pasted(scene: Scene, other: Scene, random: np.random.Generator) -> Scene:
    """Return the scene with one thing of another scene in a random place, boxes and masks kept true.

    A thing is a box of the other scene that lies in it for the most part, with all the pixels in it. Nothing is pasted
    where the other scene has none, lacks a label that this one has, or its things do not fit. Boxes hidden by it are
    dropped.

    Source: Ghiasi et al. 2021, arXiv:2012.07177, with boxes in place of instance masks.
    """
    height, width = other.image.shape[-2:]
    things = [
        (task, place)
        for task, boxes in other.boxes.items()
        for place, share in enumerate(_share_in(boxes.as_subclass(Tensor), (0, 0, width, height)))
        if share >= _WITHIN
    ]
    if not things or set(scene.boxes) - set(other.boxes) or set(scene.masks) - set(other.masks):
        return scene
    task, place = things[int(random.integers(len(things)))]
    cut = _inside(other.boxes[task][place].tolist(), other)
    height, width = scene.image.shape[-2:]
    high, wide = cut[3] - cut[1], cut[2] - cut[0]
    if not (2 <= high <= height and 2 <= wide <= width):
        return scene
    left, top = int(random.integers(0, width - wide + 1)), int(random.integers(0, height - high + 1))
    return _pasted_at(scene, other, cut, left, top)


def _inside(box: Sequence[float], scene: Scene) -> tuple[int, int, int, int]:
    """Return a box in whole pixels, cut where the image ends."""
    height, width = scene.image.shape[-2:]
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    return left, top, min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))


def _pasted_at(scene: Scene, other: Scene, cut: tuple[int, int, int, int], left: int, top: int) -> Scene:
    x0, y0, x1, y1 = cut
    area = (left, top, left + x1 - x0, top + y1 - y0)

    def over(below: Tensor, above: Tensor) -> Tensor:
        made = below.clone()
        made[..., area[1] : area[3], area[0] : area[2]] = above[..., y0:y1, x0:x1]
        return made

    masks = {
        task: tv_tensors.wrap(over(mask.as_subclass(Tensor), other.masks[task].as_subclass(Tensor)), like=mask)
        for task, mask in scene.masks.items()
    }
    found = replace(scene, image=over(scene.image, other.image), masks=masks)
    for task in scene.boxes:
        found = _with_boxes(found, other, task, cut, area)
    return found


def _with_boxes(
    scene: Scene, other: Scene, task: str, cut: tuple[int, int, int, int], area: tuple[int, int, int, int]
) -> Scene:
    """Drop the boxes that an area hides, and add those of the other scene that lie in what was cut out of it."""
    own, new = scene.boxes[task].as_subclass(Tensor), other.boxes[task].as_subclass(Tensor)
    seen, within = _share_in(own, area) < _HIDDEN, _share_in(new, cut) >= _HIDDEN
    corner = torch.tensor([cut[0], cut[1], cut[0], cut[1]]), torch.tensor([area[0], area[1], area[0], area[1]])
    low, high = torch.tensor([area[0], area[1]] * 2), torch.tensor([area[2], area[3]] * 2)
    moved = torch.minimum(torch.maximum(new[within] - corner[0] + corner[1], low), high)
    boxes = tv_tensors.wrap(torch.cat([own[seen], moved]), like=scene.boxes[task])
    mine, others = scene.annotations[task], other.annotations[task]
    if not (isinstance(mine, Boxes) and isinstance(others, Boxes)):
        return scene
    labels = np.concatenate([mine.labels[seen.numpy()], others.labels[within.numpy()]])
    told = Boxes(boxes.as_subclass(Tensor).numpy(), labels)
    return replace(scene, boxes={**scene.boxes, task: boxes}, annotations={**scene.annotations, task: told})


def _share_in(boxes: Tensor, area: tuple[int, int, int, int]) -> Tensor:
    """Return (N,) the share of each box that lies in an area."""
    low, high = torch.tensor([area[0], area[1]]), torch.tensor([area[2], area[3]])
    both = (torch.minimum(boxes[:, 2:], high) - torch.maximum(boxes[:, :2], low)).clamp(min=0).prod(dim=1)
    return both / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=1e-6)
