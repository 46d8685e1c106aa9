"""Finite: a network that refuses to answer with what is not a number: JSON has no such thing, and no caller a use."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from thaw.bundle import Description
from thaw.errors import ModelError
from thaw.predictor import Backend, Embedder
from thaw.tasks.contract import Task


class NotFiniteError(ModelError):
    """A forward pass came to something that is not a number."""


@dataclass(frozen=True)
class Finite:
    """Answers in a network's place, or not at all."""

    network: Backend

    @property
    def description(self) -> Description:
        """The network's own."""
        return self.network.description

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The network's own."""
        return self.network.tasks

    def readouts(self, pixels: Tensor) -> Mapping[str, Mapping[str, Tensor]]:
        """Return what the network's answers are read off.

        Raises:
            NotFiniteError: a value of it is infinite or not a number.
        """
        return _checked(self.network.readouts(pixels))


@dataclass(frozen=True)
class FiniteBundle(Finite):
    """The same for a network that also gives the vectors that its heads see."""

    network: Embedder

    def embedded(self, pixels: Tensor) -> tuple[Mapping[str, Mapping[str, Tensor]], Tensor]:
        """Return what answers are read off, and the pooled vectors.

        Raises:
            NotFiniteError: a value that answers are read off is infinite or not a number.
        """
        found, pooled = self.network.embedded(pixels)
        return _checked(found), pooled


def _checked(found: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Mapping[str, Tensor]]:
    for task, outputs in found.items():
        for name, values in outputs.items():
            # A sum is finite where all values are, and far cheaper than looking at each.
            if values.is_floating_point() and not values.sum().isfinite():
                raise NotFiniteError(f"task {task}: {name} is not finite")
    return found
