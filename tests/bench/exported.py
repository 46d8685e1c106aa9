"""An artifact of ONNX in 8 bits beside a benchmark's model, made by what `thaw export` is made of.

The heads are untrained and the images carry no labels, so nothing is asked of the gate: what counts here is speed.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import TASKS

from thaw import bundle, golden
from thaw.backends import artifact as backends
from thaw.backends.artifact import Settings
from thaw.backends.network import Network
from thaw.config.limits import Limits
from thaw.data import quality
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.export import gate
from thaw.export.export import _describe, _told
from thaw.export.gate import Tolerance
from thaw.export.making import Making
from thaw.export.validation import Seen
from thaw.registry import artifacts, store
from thaw.storage import open_root

NAME = "onnx-int8"
_ANYTHING = Tolerance(drop=1, flips=1)


@dataclass(frozen=True)
class Photographs:
    """Images that stand in for those of a validation split."""

    files: list[Path]

    @property
    def images(self) -> int:
        return len(self.files)

    def batches(self, most: int | None = None) -> Iterator[Seen]:
        yield Seen(self._decoded()[:most], [dict.fromkeys(TASKS) for _ in self.files[:most]])

    def pixels(self, preprocess: Preprocess, most: int) -> list[NDArray[np.uint8]]:
        return [preprocess(as_tensor(image)).unsqueeze(0).numpy() for image in self._decoded()[:most]]

    def _decoded(self) -> list[NDArray[np.uint8]]:
        return [quality.decode(file.read_bytes(), Limits()) for file in self.files]


def to_int8(root: Path, reference: str, images: Path) -> str:
    """Put the artifact beside a version and return its name."""
    opened = open_root(str(root))
    found = store.resolve(opened, reference)
    folder = root / found.path
    parent, photographs = bundle.load(folder), Photographs(sorted(images.iterdir()))
    with tempfile.TemporaryDirectory() as place:
        making = Making(parent, Network(parent), photographs, _ANYTHING, Path(place))  # type: ignore[arg-type]
        settings = making.write(Settings(to="onnx", precision="int8"))
        made = backends.opened(making.folder, settings.to, parent.description)
        verdict = gate.judge(parent, made, photographs.batches(), _ANYTHING)
        told = _told(NAME, reference, settings, verdict, making, made, folder)
        golden.write(made, {file.stem: file.read_bytes() for file in photographs.files[:2]}, making.folder)
        _describe(making, told)
        artifacts.register(opened, found, NAME, making.folder)
    return NAME
