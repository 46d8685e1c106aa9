"""Family: the library that a backbone comes from, told by the backbone's name.

The one place that chooses. What a library's models are like is told in its own file.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from thaw.backbones import timm_models, torchvision_models
from thaw.backbones.contract import Backbone


class Family(Protocol):
    """What the file of each library offers; every function raises a ModelError for a name that it does not know."""

    LIBRARY: str

    def create(self, name: str, image_size: int, pretrained: bool = False, drop_path: float = 0.0) -> Backbone:
        """Build a backbone for square images of ``image_size`` pixels, with the library's own weights if asked.

        Args:
            drop_path: share of images for which the last block is passed over in training; refused where it cannot be.
        """

    def create_from(self, name: str, image_size: int, state: Mapping[str, Tensor], drop_path: float = 0.0) -> Backbone:
        """Build a backbone with values by the library's names.

        Raises:
            RuntimeError, KeyError: they do not fit.
        """

    def has_weights(self, name: str) -> bool:
        """Return whether the library publishes weights of a model."""

    def input_size(self, name: str) -> int:
        """Return the side of the square images that a model's pretrained weights saw, in pixels."""


def of(name: str) -> Family:
    """Return the family that a backbone of this name is looked for in."""
    return torchvision_models if name.startswith(torchvision_models.PREFIX) else timm_models


def names(pattern: str = "") -> list[str]:
    """Return the names of all backbones, those that match a shell ``pattern`` where one is given."""
    return [*timm_models.names(pattern), *torchvision_models.names(pattern)]
