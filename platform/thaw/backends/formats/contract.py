"""What every format of exported networks offers: a file in a folder, and a way to run it.

How a network is made smaller or less precise before is not a format's business (see thaw.export).
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from thaw.errors import ModelError


class Run(Protocol):
    """An opened network."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        """Return the outputs for (B, 3, S, S) pixels, in the order they were asked for."""
        ...


class Format(Protocol):
    """A module in this folder; the files that hold a network are called ``model`` with one ending or another."""

    UNSAFE: str | None
    """Why a file that is not of this process's own making is not opened; None where it may be."""

    @staticmethod
    def open(folder: Path, outputs: Sequence[str], device: str, threads: int) -> Run:
        """Open a network.

        Args:
            outputs: names of what is wanted, in order.
            device: ``cpu`` or ``cuda``.
            threads: for arithmetic on a CPU.

        Raises:
            ModelError: it cannot be run here.
        """
        ...


def needed(module: str, distribution: str, what: str) -> Any:
    """Return an optional module.

    Raises:
        ModelError: it is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ModelError(
            f"{what}: {module.partition('.')[0]} is not installed; `pip install '{distribution}'` brings it"
        ) from None
