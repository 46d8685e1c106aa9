"""FinetuneModel: normalise, one backbone, one head per task; and how its layer groups open and close.

When groups open, and at what rate they learn, is the plan's business; which weights form a group, the backbone's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thaw.backbones import split
from thaw.backbones.contract import Backbone, Features, LayerGroup
from thaw.backbones.pyramid import Pyramid
from thaw.backbones.split import Cut, Split
from thaw.errors import ConfigError

HEADS = "heads"
"""Name of the topmost group: all heads together with the pyramid they share, always open."""


class FinetuneModel(nn.Module):
    """From uint8 pixels to the outputs of every head, in one forward pass."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        pyramid: Pyramid | None,
        heads: Mapping[str, nn.Module],
        batchnorm: Literal["held", "adapt"],
    ) -> None:
        """Join the parts; the pyramid is None where no head looks at maps."""
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.heads = nn.ModuleDict(dict(heads))
        self.batchnorm = batchnorm
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1) * 255)
        self.depth = 0
        self.halves: Split | None = None  # no module of its own: its layers are the backbone's
        self.open_groups(0)

    @property
    def groups(self) -> tuple[LayerGroup, ...]:
        """The backbone's layer groups, input side first."""
        return self.backbone.groups

    def forward(self, seen: Tensor | Cut, targets: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Return task name -> outputs of (B, 3, S, S) uint8 pixels, or of what `cut` made of them.

        Args:
            targets: by task, in training alone, for heads that choose by them what they look at.

        Raises:
            RuntimeError: what `cut` made is given, but groups were opened since.
        """
        return self.outputs(self.features(seen), targets)

    def features(self, seen: Tensor | Cut) -> Features:
        """Return what the heads are given of (B, 3, S, S) uint8 pixels, or of what `cut` made of them."""
        if isinstance(seen, Tensor):
            features: Features = self.backbone(self._normalised(seen), self.pyramid is not None)
        else:
            features = self._split().above(seen)
        return features if self.pyramid is None else replace(features, maps=self.pyramid(features.maps))

    def outputs(self, features: Features, targets: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Return task name -> outputs of what `features` returned."""
        given = targets or {}
        return {name: head(features, given.get(name)) for name, head in self.heads.items()}

    def _normalised(self, pixels: Tensor) -> Tensor:
        return ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def split(self, size: int) -> Split:
        """Cut the network where its open groups begin, until others are opened, and return the halves of its backbone.

        Args:
            size: side of the square input, in pixels.

        Raises:
            ModelError: it cannot be cut there.
        """
        num_maps = self.pyramid.num_maps if self.pyramid is not None else 0
        self.halves = split.split(self.backbone, num_maps, size)
        return self.halves

    def cut(self, pixels: Tensor) -> Cut:
        """Return what the frozen half makes of (B, 3, S, S) uint8 pixels, to be given to `forward` in their place."""
        return self._split().cut(self._normalised(pixels))

    def _split(self) -> Split:
        if self.halves is None:
            raise RuntimeError("the network is not cut where its open groups begin now")
        return self.halves

    def open_groups(self, depth: int) -> None:
        """Let the ``depth`` groups next to the heads learn, and no other.

        Raises:
            ConfigError: the backbone has fewer groups.
        """
        if depth > len(self.groups):
            raise ConfigError(f"{depth} groups cannot be opened; the backbone has {len(self.groups)}")
        self.depth, self.halves = depth, None
        self.backbone.requires_grad_(False)
        for name, parameters in self.group_parameters():
            learns = name == HEADS or name in self.open_names()
            for parameter in parameters.values():
                parameter.requires_grad_(learns)
        self.train(self.training)

    def open_names(self) -> tuple[str, ...]:
        """Return the names of the open layer groups, input side first."""
        return tuple(group.name for group in self.groups[len(self.groups) - self.depth :])

    def open_weights(self) -> list[nn.Parameter]:
        """Return the last weight of every open layer group below the heads, nearest to them first."""
        groups = dict(self.group_parameters())
        kernels = ([one for one in groups[name].values() if one.ndim > 1] for name in reversed(self.open_names()))
        return [weights[-1] for weights in kernels if weights]

    def group_parameters(self) -> Iterator[tuple[str, dict[str, nn.Parameter]]]:
        """Yield each group's name with its parameters by full name: layer groups input side first, heads last."""
        body = {name.removeprefix("body."): (name, weight) for name, weight in self.backbone.named_parameters()}
        for group in self.groups:
            yield group.name, {f"backbone.{body[name][0]}": body[name][1] for name in group.parameters}
        above = ("pyramid.", "heads.")
        yield HEADS, {name: weight for name, weight in self.named_parameters() if name.startswith(above)}

    def own_state(self) -> dict[str, Tensor]:
        """Return the state without what lies beneath adapters, which is had again from where it came from."""
        return {name: tensor for name, tensor in self.state_dict().items() if name not in self._base()}

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `own_state` returned.

        Raises:
            RuntimeError: it lacks tensors, has others, or their shapes differ.
        """
        base = self._base()
        self.load_state_dict({**state, **{name: one for name, one in self.state_dict().items() if name in base}})

    def _base(self) -> frozenset[str]:
        return frozenset(f"backbone.{name}" for name in self.backbone.base)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but hold everything frozen as it is served.

        A frozen layer in training mode would still move BatchNorm's running statistics and drop features.
        """
        super().train(mode)
        if mode:
            _hold_frozen(self.backbone, self.batchnorm == "held")
        return self


def _hold_frozen(module: nn.Module, hold_batchnorm: bool) -> None:
    """Put modules whose weights are all frozen, and BatchNorm where asked, into evaluation mode."""
    weights = list(module.parameters())
    frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
    if frozen or (hold_batchnorm and isinstance(module, _BatchNorm)):
        module.eval()
    else:
        for child in module.children():
            _hold_frozen(child, hold_batchnorm)
