"""Making: the files of an artifact, of whatever format; of several ways to 8 bits the gate chooses one."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.backends import artifact as backends
from thaw.backends.artifact import Settings
from thaw.backends.formats import executorch, onnx, openvino, program
from thaw.backends.network import Network
from thaw.bundle import Bundle
from thaw.console import say
from thaw.export import gate, quantize
from thaw.export.gate import Tolerance, Verdict
from thaw.export.quantize import Way
from thaw.export.validation import Validation

_TRIAL_IMAGES = 128
"""Images by which one of several ways to quantize is chosen."""


@dataclass(frozen=True)
class Making:
    """An artifact in the making.

    Attributes:
        parent: what it is to stand for.
        network: what is written; the parent's own, or with fewer weights.
        place: an empty folder.
    """

    parent: Bundle
    network: Network
    validation: Validation
    tolerance: Tolerance
    place: Path

    @property
    def folder(self) -> Path:
        """What is registered in the end."""
        return self.place / "artifact"

    def write(self, settings: Settings) -> Settings:
        """Write the network's files, and return the settings with what was decided on the way."""
        say(f"writing {settings.to}")
        self.folder.mkdir()
        if settings.to == "program":
            program.write(self.network, self.folder)
            return settings
        if settings.to == "executorch":
            executorch.write(self.network, self.folder)
            return settings
        onnx.write(self.network, self.place)
        settings = self._made_precise(settings)
        if settings.to == "openvino":
            openvino.convert(self.place / onnx.FILE, self.folder, half=settings.precision == "fp16")
        else:
            shutil.copy(self.place / onnx.FILE, self.folder / onnx.FILE)
            if settings.sparse:
                onnx.compress(self.folder)
        return settings

    def _made_precise(self, settings: Settings) -> Settings:
        """Bring the ONNX file to the precision asked for."""
        file = self.place / onnx.FILE
        if settings.precision == "fp16" and settings.to == "onnx":
            quantize.to_fp16(file, file)
        if settings.precision == "int8":
            way = self._quantized(file)
            return settings.model_copy(update={"calibration": str(way)})
        return settings

    def _quantized(self, file: Path) -> Way:
        """Put the 8-bit network in place of the file, made in the first way that passes the gate, or in the best."""
        preprocess = self.parent.description.preprocess
        pixels = self.validation.pixels(preprocess, max(quantize.IMAGES.values()))
        tried: list[tuple[float, Way, Path]] = []
        for way in quantize.WAYS:
            folder = self.place / str(len(tried))
            folder.mkdir()
            verdict = self._tried(file, folder, pixels, way)
            say(f"int8 by {way}: {_brief(verdict)}")
            tried.append((verdict.mean, way, folder))
            if verdict.passed:
                break
        _, way, folder = tried[-1] if verdict.passed else min(tried, key=lambda one: one[0])
        shutil.copy(folder / onnx.FILE, file)
        return way

    def _tried(self, file: Path, folder: Path, pixels: Sequence[NDArray[np.uint8]], way: Way) -> Verdict:
        quantize.to_int8(file, folder / onnx.FILE, pixels, way)
        made = backends.opened(folder, "onnx", self.parent.description)
        return gate.judge(self.parent, made, self.validation.batches(_TRIAL_IMAGES), self.tolerance)


def _brief(verdict: Verdict) -> str:
    return "; ".join(verdict.reasons) or f"passes on {verdict.images} images"
