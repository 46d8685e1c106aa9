"""Scene: an image together with what it carries in its pixels, so that all of it moves together.

Classes are no part of it: nothing that is done to pixels changes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from thaw.data.labels import Annotation, Boxes
from thaw.data.placement import PAD, Placement
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.metrics.masks import IGNORED


@dataclass(frozen=True)
class Scene:
    """One image with its boxes and masks, in the same pixels.

    Attributes:
        image: (3, H, W) uint8.
        boxes: task name -> (N, 4) float32 x0, y0, x1, y1, cut nowhere.
        masks: task name -> (H, W) uint8.
        annotations: task name -> annotation; those of boxes and masks are as they were at first.
    """

    image: Tensor
    boxes: Mapping[str, tv_tensors.BoundingBoxes]
    masks: Mapping[str, tv_tensors.Mask]
    annotations: Mapping[str, Annotation]

    @classmethod
    def of(cls, image: NDArray[np.uint8], annotations: Mapping[str, Annotation]) -> Self:
        """Return the scene of an (H, W, 3) uint8 image."""
        boxes = {task: one.boxes for task, one in annotations.items() if isinstance(one, Boxes)}
        masks = {task: one for task, one in annotations.items() if isinstance(one, np.ndarray)}
        return cls(
            as_tensor(image),
            {task: _as_boxes(one, image.shape[0], image.shape[1]) for task, one in boxes.items()},
            {task: tv_tensors.Mask(torch.from_numpy(one)) for task, one in masks.items()},
            annotations,
        )

    def each(self, change: Callable[[Any], Any]) -> Self:
        """Return the scene with a change of place made to all of its parts."""
        return replace(
            self,
            image=change(self.image),
            boxes={task: change(one) for task, one in self.boxes.items()},
            masks={task: change(one) for task, one in self.masks.items()},
        )

    def warped(
        self,
        angle: float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
        scale: float = 1.0,
        shear: tuple[float, float] = (0.0, 0.0),
    ) -> Self:
        """Return the scene turned, shifted, magnified and sheared about its centre, in one resampling.

        What comes into view from outside is grey, and without a label in masks. Boxes are drawn anew, upright,
        around what became of them.

        Args:
            angle: in degrees, clockwise.
            shift: to the right and down, in pixels.
            shear: along either side, in degrees.
        """

        def moved(part: Any) -> Any:
            fill = IGNORED if isinstance(part, tv_tensors.Mask) else PAD
            how = InterpolationMode.BILINEAR
            return F.affine(part, angle, list(shift), scale, list(shear), interpolation=how, fill=fill)

        return self.each(moved)

    def showing(self, image: Tensor) -> Self:
        """Return the scene with other colours in the same places."""
        return replace(self, image=image)

    def placed(self, preprocess: Preprocess, least: float) -> tuple[Tensor, dict[str, Annotation]]:
        """Return the (3, S, S) input, and the annotations in its pixels.

        Args:
            least: share of a box's area that must be in view; other boxes are dropped.
        """
        placement = preprocess.place(*self.image.shape[-2:])
        found = dict(self.annotations)
        for task, boxes in self.boxes.items():
            given = self.annotations[task]
            if isinstance(given, Boxes):
                found[task] = _in_view(placement, boxes.numpy(), given.labels, least)
        for task, mask in self.masks.items():
            found[task] = placement.mask(mask.as_subclass(Tensor)).numpy()
        return placement.image(self.image), found


def _as_boxes(boxes: NDArray[np.float32], height: int, width: int) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(
        torch.from_numpy(boxes.reshape(-1, 4)),
        format=tv_tensors.BoundingBoxFormat.XYXY,
        canvas_size=(height, width),
        clamping_mode=None,  # what leaves the picture is judged by how much of it is left
    )


def _in_view(placement: Placement, boxes: NDArray[np.float32], labels: NDArray[np.int64], least: float) -> Boxes:
    """Return boxes of an image in pixels of the input, cut where the picture ends there."""
    laid = placement.boxes(boxes)
    filled = placement.filled
    low = np.array([filled.left, filled.top] * 2, dtype=np.float32)
    high = low + np.array([filled.width, filled.height] * 2, dtype=np.float32)
    cut = np.clip(laid, low, high)
    sides = cut[:, 2:] - cut[:, :2]
    shares = sides.prod(axis=1) / np.maximum((laid[:, 2:] - laid[:, :2]).prod(axis=1), 1e-6)
    kept = (sides >= 1).all(axis=1) & (shares >= least)
    return Boxes(cut[kept], labels[kept])
