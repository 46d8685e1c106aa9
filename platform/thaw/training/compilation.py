"""Compilation: a model's forward and backward passes by torch.compile, for training alone.

Validation, evaluation and serving call the model as it is, so that what is scored is what is served.
"""

import os
import shutil

import torch
from torch import nn

from thaw.errors import ConfigError


def check(device: str) -> None:
    """Refuse to compile where this machine cannot.

    Args:
        device: ``cuda``, for which Triton brings what it needs but a C compiler, or ``cpu``.

    Raises:
        ConfigError: there is no compiler.
    """
    name = os.environ.get("CC", "gcc") if device == "cuda" else os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        raise ConfigError(
            f"train.compile: {name} is not on this node's PATH, and torch.compile needs it; install it on every node, "
            "or set train.compile to false"
        )


def compiled(wrapped: nn.Module) -> nn.Module:
    """Return a module that compiles at its first call; what DistributedDataParallel wrapped is given as it is wrapped.

    What was compiled before is forgotten: PyTorch counts how often each function was compiled, and when that was for
    too many phases it would go on without compiling, and say so in the log alone.
    """
    torch.compiler.reset()
    found: nn.Module = torch.compile(wrapped)  # type: ignore[assignment]
    return found
