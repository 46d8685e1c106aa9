"""Every backbone keeps the contract: its groups cover it, frozen means frozen, its features and maps are as said."""

import functools
from collections.abc import Callable, Iterator

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

from thaw import bundle, catalog
from thaw.backbones import adapters, family, timm_models
from thaw.backbones.contract import Backbone
from thaw.backbones.pyramid import FINEST, Pyramid
from thaw.config.experiment import Lora, Model, Optimizer
from thaw.data.labels import LabelSchema
from thaw.errors import ConfigError, ModelError
from thaw.model import HEADS, FinetuneModel
from thaw.tasks.contract import HeadInputs, PooledHead
from thaw.training import optimizer


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _tiny_swin(size: int, drop_path: float = 0.0) -> Backbone:
    """Return Swin's code at a size that takes milliseconds."""
    shape = {"embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2), "window_size": 4}
    return timm_models.TimmBackbone(
        timm.create_model(
            "swin_tiny_patch4_window7_224", num_classes=0, img_size=size, drop_path_rate=drop_path, **shape
        )
    )


def _named(name: str) -> Callable[..., Backbone]:
    return functools.partial(family.of(name).create, name)


SMALL = {
    name: _named(name)
    for name in (
        "tf_efficientnet_lite0",
        "test_resnet",
        "test_vit",
        "test_convnext",
        "mobilenetv3_small_050",
        "torchvision/shufflenet_v2_x0_5",
    )
} | {"swin": _tiny_swin}
"""Few enough operations to train on in every test run."""
LARGE = {
    name: _named(name)
    for name in (
        "inception_v3",
        "densenet121",
        "vgg11",
        "resnet50",
        "mobilenetv3_large_100",
        "vit_small_patch16_224",
        "vit_small_patch14_dinov2",
        "swin_tiny_patch4_window7_224",
        "convnext_tiny",
        "torchvision/shufflenet_v2_x1_0",
        "torchvision/shufflenet_v2_x2_0",
    )
}
"""Looked at without computing: their tensors have shapes and no values."""
SIZES = {
    "inception_v3": (75, 107),
    "resnet50": (33, 70),
    "mobilenetv3_large_100": (33, 75),
    "tf_efficientnet_lite0": (32, 75),
    "vit_small_patch14_dinov2": (42, 56),
    "convnext_tiny": (33, 70),
    "torchvision/shufflenet_v2_x1_0": (33, 75),
}


DROPPING = [name for name in SMALL if not name.startswith("torchvision/")]
"""Backbones with blocks that can be passed over in training."""


@functools.cache
def _without_values(name: str, size: int) -> Backbone:
    with torch.device("meta"):
        return (SMALL | LARGE)[name](size)


def _sizes(name: str) -> tuple[int, int]:
    return SIZES.get(name, (32, 64))


@functools.cache
def _maps(name: str, size: int) -> tuple[torch.Tensor, ...]:
    """Return the maps of two images, which have shapes and no values."""
    backbone = _without_values(name, size).eval()
    return tuple(backbone(torch.zeros(2, 3, size, size, device="meta"), with_maps=True).maps)


@pytest.mark.parametrize("name", SMALL | LARGE)
def test_every_parameter_is_in_exactly_one_group_and_no_two_groups_share_a_name(name: str) -> None:
    backbone = _without_values(name, _sizes(name)[0])
    covered = [f"body.{parameter}" for group in backbone.groups for parameter in group.parameters]
    assert sorted(covered) == sorted(name for name, _ in backbone.named_parameters())
    names = [group.name for group in backbone.groups]
    assert len(set(names)) == len(names) > 1
    assert HEADS not in names


@pytest.mark.parametrize("name", SMALL | LARGE)
def test_groups_stand_in_the_order_in_which_the_image_passes_them(name: str) -> None:
    size = _sizes(name)[0]
    backbone = _without_values(name, size).eval()
    passed: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, _given, place=place: passed.append(place))
        for place, module in backbone.named_modules()
    ]
    backbone(torch.zeros(1, 3, size, size, device="meta"), with_maps=False)
    for hook in hooks:
        hook.remove()
    order = {place: rank for rank, place in reversed(list(enumerate(passed)))}
    begins = [min(_ranks(order, group.parameters)) for group in backbone.groups]
    assert begins == sorted(begins)


def _ranks(order: dict[str, int], parameters: tuple[str, ...]) -> Iterator[int]:
    """Yield when the modules that own these weights were entered; weights of the body itself come first."""
    for parameter in parameters:
        owner = f"body.{parameter}".rpartition(".")[0]
        yield -1 if owner == "body" else order.get(owner, len(order))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", SMALL | LARGE)
def test_features_are_one_vector_an_image_as_wide_as_said_at_any_size(name: str, place: int) -> None:
    size = _sizes(name)[place]
    backbone = _without_values(name, size).eval()
    features = backbone(torch.zeros(3, 3, size, size, device="meta"), with_maps=False)
    assert features.pooled.shape == (3, backbone.num_features)
    assert features.size == size
    assert features.maps == ()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", SMALL | LARGE)
def test_maps_are_as_wide_and_as_fine_as_said_at_any_size(name: str, place: int) -> None:
    size = _sizes(name)[place]
    backbone = _without_values(name, size)
    strides = [one.stride for one in backbone.maps]
    assert strides
    assert strides == sorted(set(strides))
    assert strides[0] >= FINEST
    for told, found in zip(backbone.maps, _maps(name, size), strict=True):
        side = found.shape[2]
        assert found.shape == (2, told.channels, side, side)
        lost = size - side * told.stride
        assert -told.stride < lost < (told.stride if name != "inception_v3" else 44)  # it pads next to nothing


@pytest.mark.parametrize("finest", [4, 8])
@pytest.mark.parametrize("name", SMALL | LARGE)
def test_a_pyramid_can_be_built_on_the_maps(name: str, finest: int) -> None:
    size = _sizes(name)[1]
    with torch.device("meta"):
        pyramid = Pyramid(_without_values(name, size).maps, 16, finest)
    maps = pyramid(_maps(name, size))
    assert [one.shape[:2] for one in maps] == [(2, 16)] * len(pyramid.strides)
    assert finest <= 1.2 * pyramid.strides[0] < 2.4 * finest
    sides = [one.shape[2] for one in maps]
    assert sides == sorted(set(sides), reverse=True)


@pytest.mark.parametrize("name", SMALL)
def test_pooled_features_are_the_same_with_and_without_maps(name: str) -> None:
    torch.manual_seed(0)
    backbone = SMALL[name](32).eval()
    images = torch.randn(2, 3, 32, 32)
    given, alone = backbone(images, with_maps=True), backbone(images, with_maps=False)
    assert torch.equal(given.pooled, alone.pooled)
    assert all(one.isfinite().all() and one.any() for one in given.maps)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_a_backbone_without_maps_is_refused_for_heads_that_look_at_them(task: str) -> None:
    backbone = SMALL["test_resnet"](32)
    backbone.maps = ()
    options = catalog.part("tasks", task).Options(type=task)
    tasks = bundle.build_tasks({"place": options}, {"place": LabelSchema(kind=options.annotation, names=("a", "b"))})
    with pytest.raises(ConfigError, match=r"tasks\.place: test_resnet gives no feature maps, .* such as .*resnet50"):
        bundle._assembled(Model(backbone="test_resnet"), backbone, tasks, "held")


@pytest.mark.parametrize("name", SMALL | LARGE)
def test_mean_and_std_are_three_numbers_on_a_scale_of_one(name: str) -> None:
    backbone = _without_values(name, _sizes(name)[0])
    assert len(backbone.mean) == len(backbone.std) == 3
    assert all(0 <= mean <= 1 and 0 < std <= 1 for mean, std in zip(backbone.mean, backbone.std, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_frozen_means_bit_for_bit_frozen_at_every_depth(name: str) -> None:
    model = _model(name, "adapt")
    group_of = _group_of_state(model)
    trained = optimizer.build(model, Optimizer())
    for depth in range(len(model.groups) + 1):
        model.open_groups(depth)
        optimizer.follow(trained, model, Optimizer())
        moved = _moved_by_two_steps(model, trained)
        assert {group_of[name] for name in moved} == {*model.open_names(), HEADS}


@pytest.mark.parametrize("name", DROPPING)
def test_blocks_are_passed_over_in_open_groups_alone_by_the_steps_own_seed(name: str) -> None:
    model = _model(name, "held", drop_path=0.6)
    plain = _model(name, "held")
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)  # some begin with branches that are multiplied by 0
    drops = {place: one for place, one in model.named_modules() if isinstance(one, DropPath)}
    rates = [float(one.drop_prob) for one in drops.values()]
    assert 0 < max(rates) < 0.61
    assert rates == sorted(rates)
    pixels = torch.randint(0, 256, (16, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for depth in range(len(model.groups) + 1):
        model.open_groups(depth)
        model.train()
        dropping = [place for place, one in drops.items() if one.training]
        assert {_group_at(model, place) for place in dropping} <= set(model.open_names())
    assert len(dropping) == len(drops)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model(pixels)["kind"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in plain.state_dict().items()
    }
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain.eval()(pixels)["kind"], model.eval()(pixels)["kind"])


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "inception_v3", "torchvision/shufflenet_v2_x0_5"])
def test_a_backbone_without_blocks_to_pass_over_is_refused_for_it_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.drop_path: {name} has no blocks .* such as .*resnet50"):
        family.of(name).create(name, 75, drop_path=0.1)


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "test_resnet", "torchvision/shufflenet_v2_x0_5"]
)
def test_held_batchnorm_keeps_its_statistics_where_everything_else_learns(name: str) -> None:
    model = _model(name, "held")
    model.open_groups(len(model.groups))
    moved = _moved_by_two_steps(model, optimizer.build(model, Optimizer()))
    assert moved
    assert not moved & {name for name, _ in model.named_buffers()}


ADAPTED = ("test_resnet", "test_vit", "test_convnext", "swin", "torchvision/shufflenet_v2_x0_5")


def _plain(name: str) -> Backbone:
    """Return a backbone whose normalisation weights are not zero, as some are that have yet to learn."""
    torch.manual_seed(0)
    backbone = SMALL[name](32)
    for parameter in backbone.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return backbone


def _adapted(name: str) -> Backbone:
    return adapters.add(_plain(name), Lora(rank=2), 32)


@pytest.mark.parametrize("name", ADAPTED)
def test_with_adapters_every_parameter_is_an_adapters_in_exactly_one_group_or_lies_beneath(name: str) -> None:
    backbone = _adapted(name)
    covered = [f"body.{parameter}" for group in backbone.groups for parameter in group.parameters]
    assert sorted([*covered, *(one for one, _ in backbone.named_parameters() if one in backbone.base)]) == sorted(
        name for name, _ in backbone.named_parameters()
    )
    assert covered
    assert all(".lora_" in parameter for parameter in covered)
    assert {one.replace(".base_layer.", ".") for one in backbone.base} == set(SMALL[name](32).state_dict())


@pytest.mark.parametrize("name", ADAPTED)
def test_new_adapters_change_no_bit_of_the_features(name: str) -> None:
    backbone, images = _plain(name).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = backbone(images, with_maps=True)
        after = adapters.add(backbone, Lora(), 32)(images, with_maps=True)
    assert torch.equal(before.pooled, after.pooled)
    assert all(torch.equal(first, second) for first, second in zip(before.maps, after.maps, strict=True))


@pytest.mark.parametrize("name", ADAPTED)
def test_heads_and_the_adapters_of_open_groups_move_and_nothing_else_at_any_depth(name: str) -> None:
    backbone = _adapted(name)
    head = PooledHead(HeadInputs(backbone.num_features, 0.0, 0, ()), 3)
    model = FinetuneModel(backbone, None, {"kind": head}, "held")
    group_of = _group_of_state(model)
    trained = optimizer.build(model, Optimizer())
    holding = {group.name for group in backbone.groups if group.parameters}
    for depth in range(len(model.groups) + 1):
        model.open_groups(depth)
        optimizer.follow(trained, model, Optimizer())
        moved = _moved_by_two_steps(model, trained)
        assert moved <= set(model.own_state())
        assert {group_of[name] for name in moved} == {*holding & set(model.open_names()), HEADS}
    opened = {f"backbone.body.{one}" for group in backbone.groups for one in group.parameters}
    assert opened <= moved, "an adapter never learns"


@pytest.mark.parametrize("name", ADAPTED)
def test_merged_adapters_give_the_same_features(name: str) -> None:
    backbone, plain = _adapted(name).double().eval(), _plain(name).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    state = backbone.state_dict()
    for place in set(state) - backbone.base:
        state[place].normal_(std=0.1)
    with torch.no_grad():
        start, mine = (one(images, with_maps=False).pooled for one in (plain, backbone))
        plain.load_state_dict(adapters.merged_state(backbone))
        merged = plain(images, with_maps=False).pooled
    torch.testing.assert_close(merged, mine, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(merged, start, rtol=1e-2)


def _model(name: str, batchnorm: str, **more: float) -> FinetuneModel:
    torch.manual_seed(0)
    backbone = SMALL[name](32, **more)
    head = PooledHead(HeadInputs(backbone.num_features, 0.0, 0, ()), 3)
    return FinetuneModel(backbone, None, {"kind": head}, batchnorm)


def _group_at(model: FinetuneModel, place: str) -> str:
    """Return the group of the weights in the innermost block with weights around a module."""
    groups = {f"backbone.body.{one}": group.name for group in model.groups for one in group.parameters}
    while not (around := {group for name, group in groups.items() if name.startswith(f"{place}.")}):
        place = place.rpartition(".")[0]
    [group] = around
    return group


def _group_of_state(model: FinetuneModel) -> dict[str, str]:
    """Return which group each parameter belongs to, and each buffer through the parameters beside it."""
    found = {name: group for group, weights in model.group_parameters() for name in weights}
    beside = {name.rpartition(".")[0]: group for name, group in found.items()}
    return {name: found.get(name, beside.get(name.rpartition(".")[0], "none")) for name in model.state_dict()}


def _moved_by_two_steps(model: FinetuneModel, trained: torch.optim.Optimizer) -> set[str]:
    """Return the names in the model's state whose values two steps of training changed."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    for step in range(2):
        optimizer.set_rates(trained, dict.fromkeys((*(group.name for group in model.groups), HEADS), 1e-2))
        pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(step))
        trained.zero_grad(set_to_none=True)
        outputs = model(pixels.to(torch.uint8))["kind"]
        nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 2, 0])).backward()
        trained.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
