"""What every backbone offers: features of normalised images, and its weights in layer groups.

Heads, freezing and normalisation are not a backbone's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from thaw.errors import ModelError


@dataclass(frozen=True)
class LayerGroup:
    """Weights that are opened together.

    Attributes:
        name: the common start of the parameter names, such as ``blocks.3``.
        parameters: names in the backbone's ``named_parameters()``.
    """

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class MapFacts:
    """One of the maps that a backbone can give.

    Attributes:
        channels: C of a (B, C, H, W) map.
        stride: pixels of the input per place of the map.
    """

    channels: int
    stride: int


@dataclass(frozen=True)
class Features:
    """What a backbone makes of a batch of images.

    Attributes:
        pooled: (B, D) one vector an image.
        size: side of the square input, in pixels.
        maps: (B, C_i, H_i, W_i) maps, finest first; none where no head looks at places.
    """

    pooled: Tensor
    size: int
    maps: Sequence[Tensor] = ()


class Backbone(nn.Module, ABC):
    """A network from normalised images to features.

    Attributes:
        num_features: D, the length of the pooled vector.
        mean, std: per channel, on a [0, 1] scale, as the pretrained weights expect.
        groups: input side first; every parameter is in exactly one, or in `base`.
        base: names in the state of what lies beneath adapters: it never changes, and need not be saved.
        maps: the maps that it can give, finest first, at strides of 4 pixels and more; none where it has no such.
    """

    num_features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    groups: tuple[LayerGroup, ...]
    maps: tuple[MapFacts, ...]
    base: frozenset[str] = frozenset()

    def checkpoint_gradients(self) -> bool:
        """Keep fewer activations for the backward pass and compute them again there; return whether it can."""
        return False

    @abstractmethod
    def forward(self, images: Tensor, with_maps: bool) -> Features:
        """Return the features of (B, 3, S, S) normalised images; all of `maps`, or none of them."""


def no_drop_path(name: str) -> ModelError:
    """Return the refusal of a model without blocks that can be passed over."""
    return ModelError(
        f"model.drop_path: {name} has no blocks that can be passed over; set it to 0 and use model.dropout, or take a "
        "backbone of residual blocks, such as tf_efficientnet_lite0, resnet50, convnext_tiny or vit_small_patch16_224"
    )
