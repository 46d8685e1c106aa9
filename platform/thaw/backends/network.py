"""Network: a bundle's model as it is exported, from uint8 pixels to what all answers are read off.

Normalising is inside; geometry is not, nor is reading answers: those are the same for every backend.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from thaw.bundle import Bundle
from thaw.tasks.contract import Task

INPUT = "pixels"
"""What the input of an exported network is called."""
LARGEST_BATCH = 1024
"""Most images in one pass of a `torch.export` program, and of what is made of one."""
_EXAMPLE = 2
"""Images that a network is traced with: one would be taken for a constant."""


class Network(nn.Module):
    """All that a bundle computes, as one flat tuple of tensors in the order of `names`."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.model = bundle.model
        self.tasks = bundle.tasks
        self.size = bundle.description.preprocess.size
        self.names = names(bundle.tasks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the readouts of (B, 3, S, S) uint8 pixels."""
        outputs = self.model(pixels)
        readouts = {name: task.readout(outputs[name]) for name, task in self.tasks.items()}
        return tuple(readouts[task][output] for task, output in self.names)

    def program(self, batch: int | None = None) -> ExportedProgram:
        """Return the network as a graph.

        Args:
            batch: images that it takes at a time; any number up to `LARGEST_BATCH` when left out.
        """
        pixels = torch.zeros(batch or _EXAMPLE, 3, self.size, self.size, dtype=torch.uint8)
        any_number = ({0: Dim("batch", min=1, max=LARGEST_BATCH)},)
        with torch.no_grad():
            return torch.export.export(self.eval(), (pixels,), dynamic_shapes=None if batch else any_number)


def names(tasks: Mapping[str, Task]) -> tuple[tuple[str, str], ...]:
    """Return task and name of every output of an exported network, in order."""
    return tuple((name, output) for name, task in tasks.items() for output in task.reading()["outputs"])


def flat(name: tuple[str, str]) -> str:
    """Return what an output is called in a file: a task's name and the output's."""
    return ".".join(name)
