"""Tuning: a bundle's network made faster for serving, where a user asks for it; the default is as it was scored.

In bf16 an answer depends, a little, on which images share its batch, and differs from the one that was scored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from thaw.bundle import Bundle, Description
from thaw.config.serving import Serve
from thaw.predictor import Backend
from thaw.tasks.contract import Task


@dataclass(frozen=True)
class InBf16:
    """A bundle that computes in bf16 where PyTorch's autocast does."""

    of: Bundle

    @property
    def description(self) -> Description:
        """What the bundle says of itself."""
        return self.of.description

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The heads, by name."""
        return self.of.tasks

    def readouts(self, pixels: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return task -> what its answers are read off, in fp32."""
        with self._autocast():
            return _in_fp32(self.of.readouts(pixels))

    def embedded(self, pixels: Tensor) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
        """Return the same, and the (B, D) pooled vectors, in fp32."""
        with self._autocast():
            found, pooled = self.of.embedded(pixels)
        return _in_fp32(found), pooled

    def _autocast(self) -> torch.autocast:
        return torch.autocast(next(self.of.model.parameters()).device.type, dtype=torch.bfloat16)


def _in_fp32(found: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    return {task: {name: one.float() for name, one in outputs.items()} for task, outputs in found.items()}


def tuned(network: Backend, settings: Serve) -> Backend:
    """Return a network as settings ask for it; what was exported is as it was exported."""
    if not isinstance(network, Bundle):
        return network
    if settings.channels_last:
        network.model.to(memory_format=torch.channels_last)
    if settings.compile:
        compiled: Any = torch.compile(cast(nn.Module, network.model), dynamic=True)  # batches are of any size
        network = replace(network, model=compiled)
    return InBf16(network) if settings.precision == "bf16" else network


def plain(network: Backend) -> Bundle | None:
    """Return the bundle that a network is, tuned or not; None where it is no bundle."""
    found = network.of if isinstance(network, InBf16) else network
    return found if isinstance(found, Bundle) else None
