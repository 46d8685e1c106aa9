"""Average: an exponential moving average of the weights, which is validated and registered in their place.

Training goes on with the weights themselves. How much of the average a step keeps is a function of the step, so only
the averaged weights need saving; and every worker averages the same weights, so they need no exchange.
"""

from collections.abc import Mapping

from timm.utils import ModelEmaV3
from torch import Tensor

from thaw.config.experiment import Ema
from thaw.model import FinetuneModel


class Average:
    """The averaged weights of a model, as a model of their own.

    Frozen weights stay equal to the model's, for the average of equal values is that value. BatchNorm's statistics
    are averaged with the weights that they belong to.
    """

    def __init__(self, model: FinetuneModel, options: Ema) -> None:
        """Begin with the weights as they are."""
        self._ema = ModelEmaV3(model, decay=options.decay, use_warmup=options.warmup)

    @property
    def model(self) -> FinetuneModel:
        """The model with the averaged weights, in evaluation mode."""
        averaged: FinetuneModel = self._ema.module
        return averaged

    def follow(self, model: FinetuneModel, steps: int) -> None:
        """Take in the weights as they are after so many steps; after the first one the average is these weights."""
        self._ema.update(model, steps)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from saved averaged weights."""
        self.model.load_own_state(weights)
