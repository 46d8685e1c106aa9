"""Validation: losses and metrics after an epoch, and what of the answers is shown to people.

`loop.evaluate` counts; here it is kept what was counted, and a few images are answered once more to be drawn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thaw.bundle import Bundle
from thaw.data.placement import Placement
from thaw.predictor import Answers
from thaw.training import loop, workers
from thaw.training.loop import Batch, Device, Measured
from thaw.training.step import forward


@dataclass(frozen=True)
class Seen:
    """What one validation saw.

    Attributes:
        confusion: task -> counts of true class by answered class.
        curves: task -> (N, C) scores and (N, C) truths.
        shown: batches whose answers are in ``answers``; this worker's alone.
    """

    confusion: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    curves: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    shown: Sequence[Batch] = ()
    answers: Sequence[Answers] = ()


class Validation:
    """Called after every epoch by all workers alike.

    Attributes:
        seen: what the last call saw.
    """

    def __init__(
        self, served: Bundle, batches: Callable[[], Iterable[Batch]] | None, shown: Sequence[Batch], on: Device
    ) -> None:
        """Keep what to validate on.

        Args:
            served: what is to be registered: with averaged weights where the experiment asks for an average.
            batches: gives this worker's validation images; None where all are learnt from.
            shown: a few images that are to be drawn.
        """
        self._served, self._batches, self._shown, self._on = served, batches, shown, on
        self.seen = Seen()

    def __call__(self) -> Measured:
        """Return losses and metrics by task; none where there are no images for it."""
        model, tasks = self._served.model, self._served.tasks
        workers.share_buffers(model)
        if self._batches is None:
            return {}, {}
        meters = {name: task.meter() for name, task in tasks.items()}
        found = loop.evaluate(model, tasks, self._batches(), self._on, meters)
        confusion = {name: table for name, meter in meters.items() if (table := meter.confusion()) is not None}
        curves = {name: pair for name, meter in meters.items() if (pair := meter.curves()) is not None}
        answers = [one for batch in self._shown for one in _answers(self._served, batch, self._on)]
        self.seen = Seen(confusion, curves, self._shown, answers)
        return found


@torch.inference_mode()
def _answers(served: Bundle, batch: Batch, on: Device) -> list[Answers]:
    """Return the answers to a batch, in pixels of the model's input."""
    outputs = forward(served.model, batch, on)
    images = len(batch["pixels"])
    placements = [Placement.unchanged(batch["pixels"].shape[-1])] * images
    decoded = {name: task.decode(outputs[name], placements) for name, task in served.tasks.items()}
    return [{name: answers[row] for name, answers in decoded.items()} for row in range(images)]
