"""Material: what was gathered of a dataset, for the checks to look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw.config.experiment import Experiment
from thaw.data import coverage
from thaw.data.coverage import Coverage
from thaw.data.dataset import Dataset
from thaw.data.labels import Boxes
from thaw.tasks.contract import Task


@dataclass(frozen=True)
class Material:
    """Everything that is known of N images without opening one; rows are in the order of the shards (see facts).

    Attributes:
        facts: N rows, as `thaw.data.facts` has them.
        tasks: the experiment's tasks, with their classes.
        rejected: what preparing set aside: ``id``, ``reason`` and ``detail`` each.
        classes: by task of one class an image: (N,) class index, -1 without a label.
        sets: by task of several classes an image: (N, C) zeros and ones, all -1 without a label.
        boxes: by task of boxes: N, None without a label; in pixels of the image as the facts have its size.
        vectors: (N, D) what the experiment's frozen backbone makes of each image; None where nothing needed it.
    """

    experiment: Experiment
    prepared: Dataset
    facts: pa.Table
    tasks: Mapping[str, Task]
    rejected: tuple[Mapping[str, str], ...]
    classes: Mapping[str, NDArray[np.int64]]
    sets: Mapping[str, NDArray[np.int64]]
    boxes: Mapping[str, tuple[Boxes | None, ...]]
    vectors: NDArray[np.float32] | None

    @cached_property
    def ids(self) -> list[str]:
        """The images."""
        found: list[str] = self.facts["id"].to_pylist()
        return found

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """(N,) train, val or test."""
        return np.array(self.facts["split"].to_pylist(), dtype=np.str_)

    def fact(self, name: str) -> NDArray[Any]:
        """Return (N,) values of a column of the facts, as numbers."""
        return np.array(self.facts[name].to_pylist())

    def masks(self, task: str) -> list[Coverage | None]:
        """Return what the masks of a task show; None without a label."""
        return coverage.of(self.facts, task)
