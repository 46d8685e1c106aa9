"""Program: a `torch.export` graph in one file, for PyTorch programs that do without Thaw, TorchScript and this code.

`torch.export.load` evaluates expressions that its file holds and falls back to unpickling, so it must only be given
files whose origin one trusts. Thaw writes such files, and opens none but those that it has just written itself.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from thaw.backends.formats.contract import Run
from thaw.backends.network import Network

FILE = "model.pt2"
UNSAFE = (
    "a torch.export program is for programs of your own: torch.export.load runs code that its file may hold, so Thaw "
    "does not load one from a store; answer with the bundle or an ONNX artifact"
)


def write(network: Network, folder: Path) -> None:
    """Write a network into an existing folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(network.program(), folder / FILE)


def open(folder: Path, outputs: Sequence[str], device: str, threads: int) -> Run:  # noqa: A001, ARG001 - see contract
    """Open a file that this process has just written; never one that came from elsewhere."""
    module = torch.export.load(folder / FILE).module()

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        with torch.no_grad():
            return [one.numpy() for one in module(torch.from_numpy(pixels))]

    return run
