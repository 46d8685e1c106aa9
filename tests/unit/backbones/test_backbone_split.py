"""A backbone in two halves gives what the whole gives, bit for bit, and its open weights the same gradients."""

import pytest
import timm
import torch
from torch import Tensor, nn

from thaw.backbones import family, timm_models
from thaw.backbones.contract import Backbone, Features, LayerGroup
from thaw.backbones.split import Split, split
from thaw.errors import ModelError
from thaw.model import FinetuneModel

FAST = {
    "test_efficientnet": 64,
    "test_resnet": 64,
    "test_vit": 160,
    "torchvision/shufflenet_v2_x0_5": 64,
}
SLOW = {
    "test_convnext": 64,
    "tf_efficientnet_lite0": 96,
    "resnet18": 96,
    "mobilenetv3_small_100": 96,
    "convnext_atto": 96,
    "densenet121": 96,
    "inception_v3": 96,
    "vit_tiny_patch16_224": 224,
    "deit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def opened(backbone: Backbone, depth: int) -> FinetuneModel:
    """Return a training model of the backbone with some groups open."""
    model = FinetuneModel(backbone, None, {}, "held")
    model.open_groups(depth)
    return model.train()


def outputs(features: Features, num_maps: int) -> list[Tensor]:
    return [features.pooled, *features.maps[len(features.maps) - num_maps :]]


def gradients(found: list[Tensor], weights: list[nn.Parameter]) -> list[Tensor | None]:
    return list(torch.autograd.grad(sum(one.sin().sum() for one in found), weights, allow_unused=True))


def check(name: str, size: int, depths: list[int], rows: int = 3) -> None:
    torch.manual_seed(0)
    backbone = family.of(name).create(name, size)
    images = torch.rand(rows, 3, size, size)
    for depth in depths:
        opened(backbone, depth)
        weights = [weight for weight in backbone.parameters() if weight.requires_grad]
        for num_maps in {0, len(backbone.maps)}:
            halves = split(backbone, num_maps, size)
            cut = {key: tensor.detach() for key, tensor in halves.cut(images).items()}
            assert all(len(tensor) == rows for tensor in cut.values())
            torch.manual_seed(1)  # for drop path above the cut
            found = outputs(halves.above(cut), num_maps)
            torch.manual_seed(1)
            whole = outputs(backbone(images, num_maps > 0), num_maps)
            assert halves.above(cut).size == size
            assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True)), (depth, num_maps)
            if weights:
                pairs = zip(gradients(found, weights), gradients(whole, weights), strict=True)
                assert all(one is other is None or torch.equal(one, other) for one, other in pairs), (depth, num_maps)


@pytest.mark.parametrize("name", FAST)
def test_both_halves_give_what_the_whole_gives(name: str) -> None:
    check(name, FAST[name], [0, 2])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_both_halves_give_what_the_whole_gives_at_every_depth(name: str) -> None:
    torch.manual_seed(0)
    groups = len(family.of(name).create(name, SLOW[name]).groups)
    random = name.startswith("swin")  # drop path is drawn per layer: below the cut none is
    check(name, SLOW[name], list(range(groups)) if not random else [0, 1])


def test_the_halves_hold_the_models_own_weights_and_add_none_to_it() -> None:
    model = opened(family.of("test_vit").create("test_vit", 160), 1)
    names = [name for name, _ in model.named_parameters()], list(model.state_dict())
    halves = model.split(160)
    assert ([name for name, _ in model.named_parameters()], list(model.state_dict())) == names
    pixels = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    before = halves.above(model.cut(pixels)).pooled
    with torch.no_grad():
        for weight in model.backbone.parameters():
            if weight.requires_grad:
                weight.mul_(1.5)
    after = halves.above(model.cut(pixels)).pooled
    assert not torch.equal(before, after)
    assert torch.equal(after, model.backbone(model._normalised(pixels), with_maps=False).pooled)


def test_a_cut_does_not_outlive_the_opening_of_other_groups() -> None:
    model = opened(family.of("test_resnet").create("test_resnet", 64), 0)
    model.split(64)
    cut = model.cut(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    model(cut)
    model.open_groups(1)
    with pytest.raises(RuntimeError, match="not cut"):
        model(cut)


def test_maps_that_nobody_wants_do_not_cross_the_cut() -> None:
    backbone = family.of("test_efficientnet").create("test_efficientnet", 64)
    opened(backbone, 0)
    assert list(split(backbone, 2, 64).cut(torch.zeros(1, 3, 64, 64))) == ["pooled", "map0", "map1"]
    opened(backbone, 1)
    widths = {tensor.shape[-1] for tensor in split(backbone, 2, 64).cut(torch.zeros(1, 3, 64, 64)).values()}
    assert max(widths) == 4  # the map of stride 16; finer ones lie below


def test_a_network_that_is_open_as_a_whole_is_not_cut() -> None:
    backbone = family.of("test_resnet").create("test_resnet", 64)
    opened(backbone, len(backbone.groups))
    with pytest.raises(ModelError, match="every layer group is open"):
        split(backbone, 0, 64)


def test_active_dropout_and_batchnorm_below_the_cut_are_refused() -> None:
    backbone = family.of("test_resnet").create("test_resnet", 64)
    opened(backbone, 1)
    assert isinstance(split(backbone, 0, 64), Split)
    next(one for one in backbone.modules() if isinstance(one, nn.BatchNorm2d)).train()
    with pytest.raises(ModelError, match="a frozen BatchNorm"):
        split(backbone, 0, 64)
    dropping = timm_models.TimmBackbone(timm.create_model("test_vit", num_classes=0, pos_drop_rate=0.1))
    opened(dropping, 1)
    with pytest.raises(ModelError, match="a frozen Dropout is in training mode"):
        split(dropping, 0, 160)


class Bent(Backbone):
    """Takes another way where an image is bright; or cannot be traced; or says other things in training."""

    num_features, mean, std, maps = 4, (0.5,) * 3, (0.5,) * 3, ()

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.groups = (LayerGroup("first", ("first.weight",)), LayerGroup("second", ("second.weight",)))
        for weight in self.first.parameters():
            weight.requires_grad_(False)

    def forward(self, images: Tensor, with_maps: bool) -> Features:
        found = self.first(images)
        if self.kind == "by value" and found.mean() > 0:
            found = -found
        if self.kind == "by mode" and self.training:
            found = 2 * found
        if self.kind == "by type" and not isinstance(images, torch.fx.Proxy):
            found = found + 1
        return Features(self.second(found).mean(dim=(2, 3)), 32)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("by value", r"Bent cannot be traced \(symbolically traced variables cannot be used"),
        ("by mode", r"Bent cannot be traced \(its own code is another one in training"),
        ("by type", "the halves of Bent do not give what the whole does"),
    ],
)
def test_a_network_whose_trace_is_not_the_whole_truth_is_refused(kind: str, told: str) -> None:
    assert isinstance(split(Bent("straight"), 0, 32), Split)
    with pytest.raises(ModelError, match=told):
        split(Bent(kind), 0, 32)
