"""A model learns where it is open and nowhere else, and sees what its pretrained weights saw."""

from collections import OrderedDict
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thaw.backbones.contract import Backbone, Features, LayerGroup
from thaw.errors import ConfigError
from thaw.model import HEADS, FinetuneModel
from thaw.tasks.contract import HeadInputs, PooledHead


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class _Block(nn.Module):
    """Everything that behaves differently in training: BatchNorm and dropout."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(given, made, 1), nn.BatchNorm2d(made), nn.Dropout(0.5)

    def forward(self, maps: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(maps)))


class _Blocks(Backbone):
    """Three blocks, each a layer group."""

    num_features = 8
    mean = (0.1, 0.2, 0.3)
    std = (0.4, 0.5, 0.6)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        names = ("one", "two", "three")
        self.body = nn.Sequential(OrderedDict(zip(names, (_Block(3, 8), _Block(8, 8), _Block(8, 8)), strict=True)))
        self.groups = tuple(
            LayerGroup(name, tuple(f"{name}.{weight}" for weight, _ in block.named_parameters()))
            for name, block in self.body.named_children()
        )

    def forward(self, images: Tensor, _with_maps: bool) -> Features:
        return Features(self.body(images).mean(dim=(2, 3)), images.shape[-1])


class _Seen(_Blocks):
    """Hands on the mean of what it is given."""

    def forward(self, images: Tensor, _with_maps: bool) -> Features:
        self.images = images
        return Features(images.mean(dim=(2, 3)).repeat(1, 3)[:, :8], images.shape[-1])


def _model(batchnorm: Literal["held", "adapt"] = "held") -> FinetuneModel:
    heads = {"kind": PooledHead(HeadInputs(8, 0.0, 8, ()), 2), "colour": PooledHead(HeadInputs(8, 0.5, 8, ()), 3)}
    return FinetuneModel(_Blocks(), None, heads, batchnorm)


def _pixels(images: int = 4) -> Tensor:
    return torch.randint(0, 256, (images, 3, 6, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


NAMES = ("one", "two", "three")


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_exactly_the_groups_next_to_the_heads_learn_whatever_was_open_before(before: int, depth: int) -> None:
    model = _model()
    model.open_groups(before)
    model.open_groups(depth)
    opened = NAMES[3 - depth :]
    assert model.open_names() == opened
    for name, weight in model.named_parameters():
        assert weight.requires_grad == (name.startswith("heads.") or name.split(".")[2] in opened)


def test_a_new_model_trains_its_heads_alone() -> None:
    model = _model()
    assert model.depth == 0
    assert {name.split(".")[0] for name, weight in model.named_parameters() if weight.requires_grad} == {"heads"}


def test_more_groups_than_there_are_cannot_be_opened() -> None:
    model = _model()
    with pytest.raises(ConfigError, match="4 groups cannot be opened; the backbone has 3"):
        model.open_groups(4)
    assert model.depth == 0


def test_group_parameters_name_every_weight_once_input_side_first_heads_last() -> None:
    model = _model()
    found = list(model.group_parameters())
    assert [name for name, _ in found] == [*NAMES, HEADS]
    named = {name: weight for _, weights in found for name, weight in weights.items()}
    assert sum(len(weights) for _, weights in found) == len(named)
    assert {name: id(weight) for name, weight in named.items()} == {
        name: id(weight) for name, weight in model.named_parameters()
    }


@pytest.mark.parametrize("batchnorm", ["held", "adapt"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_batchnorm_statistics_move_in_open_groups_alone_and_only_when_they_may(
    depth: int, batchnorm: Literal["held", "adapt"]
) -> None:
    model = _model(batchnorm)
    model.open_groups(depth)
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(_pixels())
    moved = {name.split(".")[2] for name, value in model.named_buffers() if not torch.equal(value, before[name])}
    assert moved == (set(NAMES[3 - depth :]) if batchnorm == "adapt" else set())


@pytest.mark.parametrize("order", ["open then train", "train then open"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_dropout_drops_in_open_groups_and_heads_alone(depth: int, order: str) -> None:
    model = _model()
    if order == "open then train":
        model.open_groups(depth)
        model.train()
    else:
        model.train()
        model.open_groups(depth)
    dropping = {name for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.training}
    opened = {f"backbone.body.{name}.drop" for name in NAMES[3 - depth :]}
    assert dropping == opened | {"heads.kind.0", "heads.colour.0"}


def test_a_frozen_backbone_gives_the_same_features_in_training_as_in_serving() -> None:
    model = _model("adapt")
    model.train()
    training = model(_pixels())["kind"]
    model.eval()
    assert torch.equal(model(_pixels())["kind"], training)


def test_in_evaluation_nothing_trains() -> None:
    model = _model("adapt")
    model.open_groups(3)
    model.train()
    model.eval()
    assert not any(module.training for module in model.modules())
    model.open_groups(2)
    assert not any(module.training for module in model.modules())


def test_pixels_become_what_the_weights_expect() -> None:
    backbone = _Seen()
    FinetuneModel(backbone, None, {"kind": PooledHead(HeadInputs(8, 0.0, 8, ()), 2)}, "held")(_pixels())
    scaled = _pixels().numpy().astype(np.float64) / 255
    mean, std = (np.array(value).reshape(1, 3, 1, 1) for value in (_Blocks.mean, _Blocks.std))
    assert np.allclose(backbone.images.numpy(), (scaled - mean) / std, atol=1e-6)
    assert backbone.images.dtype == torch.float32


def test_every_head_answers_from_one_pass() -> None:
    outputs = _model().eval()(_pixels(5))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {"kind": (5, 2), "colour": (5, 3)}


def test_mean_and_std_travel_with_the_weights() -> None:
    assert {"mean", "std"} <= set(_model().state_dict())
