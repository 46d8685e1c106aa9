"""The predictor: the only way from images to answers. Evaluation and HTTP both call it.

So a figure in a record is measured on the path that is served. It computes in fp32 whatever the training
precision was, for a bf16 answer would depend on which images shared its batch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thaw.bundle import Bundle
from thaw.data.preprocess import as_tensor
from thaw.tasks.contract import Answer, Masks

Answers = dict[str, Answer]
"""Task name -> answer, for one image."""


def answer(bundle: Bundle, images: Sequence[NDArray[np.uint8]]) -> list[Answers]:
    """Return every task's answer for each image, from one forward pass.

    Args:
        images: (H, W, 3) uint8 RGB each, of any sizes; `thaw.data.quality.decode` gives these.
    """
    if not images:
        return []
    preprocess = bundle.description.preprocess
    placements = [preprocess.place(*image.shape[:2]) for image in images]
    pixels = torch.stack([place.image(as_tensor(image)) for place, image in zip(placements, images, strict=True)])
    device = next(bundle.model.parameters()).device
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        outputs = bundle.model(pixels.to(device))
    decoded = {name: task.decode(outputs[name], placements) for name, task in bundle.tasks.items()}
    return [{name: answers[row] for name, answers in decoded.items()} for row in range(len(images))]


def as_json(answers: Answers, masks: Masks = "rle") -> dict[str, Any]:
    """Return the answers of one image as plain JSON values: what is stored and, with ``rle``, what is served."""
    return {name: one.shown(masks).model_dump(mode="json") for name, one in answers.items()}
