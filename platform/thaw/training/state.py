"""State: where a run stands; with the weights, all that a restart needs.

Values only. How they are written down and read back stands in thaw.training.checkpoint.
"""

from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from thaw.model import FinetuneModel
from thaw.training.ema import Average
from thaw.training.weighting import Weighting


class Epoch(BaseModel):
    """What one epoch came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    """Counted from 1 over all phases; epochs that early stopping skipped are skipped here too."""
    phase: int
    depth: int
    step: int
    """Steps done when the epoch ended."""
    train_loss: dict[str, float]
    val_loss: dict[str, float]
    metrics: dict[str, dict[str, float]]
    """Task -> metric -> value on the validation images."""
    first_loss: dict[str, float] = {}
    """Loss of the epoch's first step: in the first epoch, that of a model that has learnt nothing."""
    plain_loss: dict[str, float] = {}
    """Mean losses on a few unchanged training images, answered as validation images are: what ``val_loss`` may be
    compared with, as ``train_loss`` is of changed images, with dropout, and of a model that moved on meanwhile."""
    train_metrics: dict[str, dict[str, float]] = {}
    """Task -> metric -> value on the same images."""
    score: float
    """What early stopping and the choice of the best checkpoint go by; higher is better. Always 0 where nothing is
    validated."""
    seconds: float
    """After a restart inside the epoch, this and all that follow tell of the part since then."""
    images_per_s: float
    waiting: float
    """Share of the training time spent waiting for data."""
    waiting_first: float = 0.0
    """Share of it spent waiting for the first batch: where a phase begins, decoding begins too, and what frozen layers
    make of images is computed if it is kept."""


@dataclass(frozen=True)
class Begun:
    """The steps done of an epoch that is not over: what its figures will be made of.

    Attributes:
        losses: (workers, steps, tasks) each worker's share of the mean loss of every step, times the workers.
        counts: (steps, tasks) labelled images on all workers.
    """

    losses: Tensor
    counts: Tensor


@dataclass
class State:
    """Where a run stands.

    Attributes:
        optimizer: holds what was open when ``step`` was done.
        weighting: how much each task counts.
        step: steps done.
        history: the epochs so far.
        begun: the epoch that ``step`` lies in, at a pause of the loop; None between epochs.
        average: of the weights, where the experiment asks for one.
        scaler: of the losses; does nothing but with fp16.
        environment: what the figures depend on besides the experiment, in this process.
    """

    optimizer: Optimizer
    weighting: Weighting
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    begun: Begun | None = None
    average: Average | None = None
    scaler: GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    environment: dict[str, str | int] = field(default_factory=dict)

    def served(self, model: FinetuneModel) -> FinetuneModel:
        """Return what is validated and registered: the average of the weights, or the model as it is trained."""
        return self.average.model if self.average else model
