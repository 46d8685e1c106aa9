"""The predictor: the only way from images to answers. Evaluation, HTTP and the gate of exports all call it.

So a figure in a record is measured on the path that is served. A bundle computes in fp32 whatever the training
precision was, for a bf16 answer would depend on which images shared its batch. Which network computes is not its
business: preprocessing before it and reading answers off what it tells are the same for all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.bundle import Bundle, Description
from thaw.data.placement import Placement
from thaw.data.preprocess import as_tensor
from thaw.tasks.contract import Answer, Masks, Task

Answers = dict[str, Answer]
"""Task name -> answer, for one image."""


class Backend(Protocol):
    """What computes, with all that its answers need: a bundle, or what was exported of one."""

    @property
    def description(self) -> Description:
        """What the bundle says of itself."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The heads, by name."""
        ...

    def readouts(self, pixels: Tensor) -> Mapping[str, Mapping[str, Tensor]]:
        """Return task -> what its answers are read off, for (B, 3, S, S) uint8 pixels, in one forward pass."""
        ...


def answer(backend: Backend, images: Sequence[NDArray[np.uint8]]) -> list[Answers]:
    """Return every task's answer for each image, from one forward pass.

    Args:
        backend: what computes.
        images: (H, W, 3) uint8 RGB each, of any sizes; `thaw.data.quality.decode` gives these.
    """
    if not images:
        return []
    placements, pixels = _placed(backend, images)
    return _read(backend, backend.readouts(pixels), placements)


def answer_and_embed(bundle: Bundle, images: Sequence[NDArray[np.uint8]]) -> tuple[list[Answers], NDArray[np.float16]]:
    """Return the answers and the (B, D) pooled vector of each image, from one forward pass.

    Only a bundle can: what is exported gives what answers are read off, and nothing that lies before it.
    """
    if not images:
        return [], np.empty((0, 0), np.float16)
    placements, pixels = _placed(bundle, images)
    readouts, pooled = bundle.embedded(pixels)
    return _read(bundle, readouts, placements), pooled.cpu().numpy().astype(np.float16)


def _placed(backend: Backend, images: Sequence[NDArray[np.uint8]]) -> tuple[list[Placement], Tensor]:
    preprocess = backend.description.preprocess
    placements = [preprocess.place(*image.shape[:2]) for image in images]
    pixels = torch.stack([place.image(as_tensor(image)) for place, image in zip(placements, images, strict=True)])
    return placements, pixels


def _read(
    backend: Backend, readouts: Mapping[str, Mapping[str, Tensor]], placements: Sequence[Placement]
) -> list[Answers]:
    decoded = {name: task.read(readouts[name], placements) for name, task in backend.tasks.items()}
    return [{name: answers[row] for name, answers in decoded.items()} for row in range(len(placements))]


def as_json(answers: Answers, masks: Masks = "rle") -> dict[str, Any]:
    """Return the answers of one image as plain JSON values: what is stored and, with ``rle``, what is served."""
    return {name: one.shown(masks).model_dump(mode="json") for name, one in answers.items()}
