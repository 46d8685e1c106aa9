"""The predictor: the only way from images to answers. Evaluation, HTTP and the gate of exports all call it.

So a figure in a record is measured on the path that is served. A bundle computes in fp32 whatever the training
precision was, for a bf16 answer would depend on which images shared its batch. Which network computes is not its
business: preprocessing before it and reading answers off what it tells are the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.bundle import Description
from thaw.data.placement import Placement
from thaw.data.preprocess import Preprocess, as_tensor
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


class Embedder(Backend, Protocol):
    """A network that also gives the vectors that its heads see; a bundle does."""

    def embedded(self, pixels: Tensor) -> tuple[Mapping[str, Mapping[str, Tensor]], Tensor]:
        """Return what `readouts` does, and the (B, D) pooled vectors, of one forward pass."""
        ...


@dataclass(frozen=True)
class Placed:
    """An image as the network sees it.

    Attributes:
        pixels: (3, S, S) uint8; its own memory, not that of the image.
        placement: where the image lies in it.
    """

    pixels: Tensor
    placement: Placement


def place(preprocess: Preprocess, image: NDArray[np.uint8]) -> Placed:
    """Return an image brought to the network's input; safe to call from many threads.

    Args:
        image: (H, W, 3) uint8 RGB; `thaw.data.quality.decode` gives these.
    """
    placement = preprocess.place(*image.shape[:2])
    return Placed(placement.image(as_tensor(image)).contiguous(), placement)


def answer_placed(backend: Backend, placed: Sequence[Placed]) -> list[Answers]:
    """Return every task's answer for each image, from one forward pass."""
    if not placed:
        return []
    return _read(backend, backend.readouts(torch.stack([one.pixels for one in placed])), placed)


def answer_and_embed(network: Embedder, placed: Sequence[Placed]) -> list[tuple[Answers, NDArray[np.float16]]]:
    """Return the answers and the (D,) pooled vector of each image, from one forward pass.

    Only a bundle can: what is exported gives what answers are read off, and nothing that lies before it.
    """
    if not placed:
        return []
    readouts, pooled = network.embedded(torch.stack([one.pixels for one in placed]))
    return list(zip(_read(network, readouts, placed), pooled.cpu().numpy().astype(np.float16), strict=True))


def _read(backend: Backend, readouts: Mapping[str, Mapping[str, Tensor]], placed: Sequence[Placed]) -> list[Answers]:
    placements = [one.placement for one in placed]
    decoded = {name: task.read(readouts[name], placements) for name, task in backend.tasks.items()}
    return [{name: answers[row] for name, answers in decoded.items()} for row in range(len(placed))]


def answer(backend: Backend, images: Sequence[NDArray[np.uint8]]) -> list[Answers]:
    """Return every task's answer for each image, from one forward pass.

    Args:
        backend: what computes.
        images: (H, W, 3) uint8 RGB each, of any sizes.
    """
    return answer_placed(backend, [place(backend.description.preprocess, image) for image in images])


def as_json(answers: Answers, masks: Masks = "rle") -> dict[str, Any]:
    """Return the answers of one image as plain JSON values: what is stored and, with ``rle``, what is served."""
    return {name: one.shown(masks).model_dump(mode="json") for name, one in answers.items()}
