"""Sample: one image with what it carries for each task."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.labels import Annotation


@dataclass(frozen=True)
class Sample:
    """One decoded image.

    Attributes:
        id: as the source names it.
        image: (H, W, 3) uint8, RGB.
        annotations: task name -> annotation; None where the image has no label for it.
    """

    id: str
    image: NDArray[np.uint8]
    annotations: Mapping[str, Annotation]
