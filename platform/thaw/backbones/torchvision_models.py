"""Backbones from torchvision: its classification networks that timm lacks, with torchvision's own facts about each.

Detectors and their weights are not made here (see thaw.backbones.detector_weights), nor is anything that timm has too.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn

from thaw import catalog
from thaw.backbones.contract import Backbone, Features, LayerGroup, MapFacts, no_drop_path
from thaw.errors import ModelError

LIBRARY = "torchvision"
PREFIX = f"{LIBRARY}/"
"""What the names of these backbones begin with, in Thaw alone."""
_KNOWN = "shufflenet_v2_*"
"""torchvision's names, as a shell pattern, of the networks that are cut into groups below."""
_STAGES = ("conv1", "stage2", "stage3", "stage4", "conv5")
"""The layers of ShuffleNet V2 that have weights, input side first; after the first comes a pooling layer."""
_CLASSIFIER = "fc"


class TorchvisionBackbone(Backbone):
    """A ShuffleNet V2 of torchvision without its classifier.

    Source: Ma et al. 2018, arXiv:1807.11164.
    """

    def __init__(self, name: str, body: nn.Module) -> None:
        """Take over a network whose classifier has been taken off."""
        super().__init__()
        facts = _published(name).transforms()
        widths: Any = body._stage_out_channels
        self.body = body
        self.mean = tuple(facts.mean)
        self.std = tuple(facts.std)
        self.groups = tuple(_group(body, stage) for stage in _STAGES)
        self.num_features = int(widths[-1])
        self.maps = tuple(MapFacts(int(width), 4 * 2**place) for place, width in enumerate(widths[:-1]))

    def forward(self, images: Tensor, with_maps: bool) -> Features:
        """Return the vector that torchvision's classifier would have received, and maps where they are wanted."""
        body: Any = self.body
        maps = [body.maxpool(body.conv1(images))]
        for stage in (body.stage2, body.stage3, body.stage4):
            maps.append(stage(maps[-1]))
        pooled = body.conv5(maps[-1]).mean([2, 3])
        return Features(pooled, images.shape[-1], tuple(maps) if with_maps else ())


def create(name: str, image_size: int, pretrained: bool = False, drop_path: float = 0.0) -> TorchvisionBackbone:
    """Build a torchvision model; it takes square images of any size.

    Args:
        name: a name of torchvision behind `PREFIX`.
        image_size: side of the input in pixels.
        pretrained: load the weights that torchvision publishes as the best.
        drop_path: 0, for none of these networks has blocks that can be passed over.

    Raises:
        ModelError: the name is not one of `names`, or ``drop_path`` is not 0.
    """
    check_name(name)
    if drop_path:
        raise no_drop_path(name)
    if pretrained:
        return create_from(name, image_size, _published(name).get_state_dict(progress=False, check_hash=True))
    body = torchvision.models.get_model(name.removeprefix(PREFIX), weights=None)
    setattr(body, _CLASSIFIER, nn.Identity())
    return TorchvisionBackbone(name, body)


def create_from(name: str, image_size: int, state: Mapping[str, Tensor], drop_path: float = 0.0) -> TorchvisionBackbone:
    """Build a torchvision model with the values of ``state``, whose names are torchvision's; a classifier is dropped.

    Raises:
        RuntimeError: they do not fit.
    """
    made = create(name, image_size, drop_path=drop_path)
    made.body.load_state_dict({key: one for key, one in state.items() if not key.startswith(f"{_CLASSIFIER}.")})
    return made


def has_weights(name: str) -> bool:
    """Return whether torchvision publishes weights of a model."""
    check_name(name)
    return True


def input_size(name: str) -> int:
    """Return the side of the square images that a model's pretrained weights saw, in pixels."""
    check_name(name)
    return int(_published(name).transforms().crop_size[0])


def check_name(name: str) -> None:
    """Raise a ModelError when there is no model of this name."""
    if name not in names():
        raise ModelError(
            f"model.backbone: {name!r} is not one of the models taken from torchvision {torchvision.__version__}, "
            f"{', '.join(names())}{catalog.did_you_mean(name, names())}; those of timm go by their name alone"
        )


def names(pattern: str = "") -> list[str]:
    """Return the models' names, those that match a shell ``pattern`` with or without `PREFIX` where one is given."""
    known = torchvision.models.list_models(module=torchvision.models, include=_KNOWN)
    matching = (one for one in known if any(fnmatch.fnmatch(form, pattern or "*") for form in (one, PREFIX + one)))
    return [PREFIX + one for one in sorted(matching)]


def _published(name: str) -> Any:
    """Return torchvision's entry of a model's best published weights: where they are and what images they saw."""
    return torchvision.models.get_model_weights(name.removeprefix(PREFIX)).DEFAULT


def _group(body: nn.Module, stage: str) -> LayerGroup:
    return LayerGroup(stage, tuple(name for name, _ in body.named_parameters() if name.startswith(f"{stage}.")))
