"""Adapters sit where they are asked for and where they can work, start at nothing, and fold into what they adapt."""

import sys
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from thaw.backbones import adapters, family, timm_models
from thaw.backbones.contract import Backbone
from thaw.config.experiment import Lora
from thaw.errors import ConfigError, ModelError


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _created(name: str) -> Backbone:
    torch.manual_seed(0)
    return family.of(name).create(name, 32).eval()


def _adapted(name: str, **options: object) -> Backbone:
    return adapters.add(_created(name), Lora.model_validate(options), 32)


def _layers(backbone: Backbone) -> list[str]:
    """Return the adapted layers, and make sure that each has both halves of an adapter in its group."""
    held = [name.rsplit(".lora_", 1)[0] for group in backbone.groups for name in group.parameters]
    assert all(held.count(name) == 2 for name in held)
    return list(dict.fromkeys(held))


def _large(name: str) -> Backbone:
    with torch.device("meta"):
        return adapters.add(family.of(name).create(name, 224), Lora(), 224)


BLOCKS = [f"blocks.{place}.attn.qkv" for place in range(12)]
BY_DEFAULT: dict[str, Callable[[list[str]], bool]] = {
    "vit_small_patch16_224": lambda found: found == BLOCKS,
    "swin_tiny_patch4_window7_224": lambda found: len(found) == 12 and all(one.endswith(".qkv") for one in found),
    "convnext_atto": lambda found: {one.rpartition(".")[2] for one in found} == {"fc1", "fc2"},
    "resnet26": lambda found: {one.rpartition(".")[2] for one in found} == {"conv1", "conv3", "0"},
    "resnet18": lambda found: found[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"] and len(found) == 20,
    "tf_efficientnet_lite0": lambda found: (
        {one.rpartition(".")[2] for one in found} == {"conv_pw", "conv_pwl", "conv_head"}
    ),
}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_left_to_itself_it_adapts_what_a_network_of_its_kind_is_made_of(name: str) -> None:
    found = _layers(_large(name))
    assert BY_DEFAULT[name](found), found


def test_adapters_of_a_small_transformer_are_less_than_a_hundredth_of_it() -> None:
    backbone = _large("vit_small_patch16_224")
    state = backbone.state_dict()
    added = sum(value.numel() for name, value in state.items() if name not in backbone.base)
    assert added == 12 * 8 * (384 + 3 * 384)
    assert 0.005 < added / sum(state[name].numel() for name in backbone.base) < 0.01


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        (["qkv"], {f"blocks.{block}.attn.qkv" for block in range(6)}),
        (["mlp.fc1"], {f"blocks.{block}.mlp.fc1" for block in range(6)}),
        (["blocks.0.*"], {f"blocks.0.{one}" for one in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}),
        (
            ["blocks.[01].attn.proj", "patch_embed.proj"],
            {"blocks.0.attn.proj", "blocks.1.attn.proj", "patch_embed.proj"},
        ),
    ],
)
def test_targets_are_ends_of_names(targets: list[str], wanted: set[str]) -> None:
    assert set(_layers(_adapted("test_vit", targets=targets))) == wanted


@pytest.mark.parametrize("pattern", ["kv", "attn", "blocks.9.attn.qkv", "norm1"])
def test_a_target_that_names_no_layer_is_refused_with_those_there_are(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.lora\.targets: .*qkv \(blocks\.0\.attn\.qkv\).*fc1"):
        _adapted("test_vit", targets=["qkv", pattern])


def test_depthwise_convolutions_cannot_be_targets() -> None:
    with pytest.raises(ConfigError, match=r"'conv_dw' is the end of no .*conv_pw"):
        _adapted("tf_efficientnet_lite0", targets=["conv_dw"])


def test_layers_of_which_only_the_weights_are_read_are_no_targets() -> None:
    shape = {"embed_dim": 16, "depth": 2, "num_heads": 2}
    body = timm.create_model("beit_base_patch16_224", num_classes=0, img_size=32, **shape)
    with pytest.raises(ConfigError, match=r"'qkv' is the end of no .*proj .*fc1"):
        adapters.add(timm_models.TimmBackbone(body), Lora(targets=("qkv",)), 32)


class _Centred(nn.Conv2d):
    """Computes with its weights less their mean."""

    def forward(self, maps: Tensor) -> Tensor:
        return self._conv_forward(maps, self.weight - self.weight.mean(), self.bias)


def test_layers_that_compute_something_else_of_their_weights_are_no_targets() -> None:
    backbone = _created("test_resnet")
    backbone.get_submodule("body.layer4.0.conv1").__class__ = _Centred
    with pytest.raises(ConfigError, match=r"'layer4\.0\.conv1' is the end of no"):
        adapters.add(backbone, Lora(targets=("layer4.0.conv1",)), 32)


def test_a_rank_that_no_layer_is_worth_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.lora\.rank: .* rank 256"):
        _adapted("test_efficientnet", rank=256)


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install 'thaw-vision\[lora\]'"):
        _adapted("test_vit")


def test_looking_for_layers_leaves_the_modes_of_modules_alone() -> None:
    backbone = _created("test_resnet").train()
    backbone.get_submodule("body.layer2").eval()
    before = {name: module.training for name, module in backbone.named_modules()}
    adapters.add(backbone, Lora(), 32)
    after = {name: module.training for name, module in backbone.named_modules()}
    replaced = {f"body.{name}" for name in _layers(backbone)}
    assert replaced
    assert all(after[name] == mode for name, mode in before.items() if name not in replaced)


def test_groups_keep_their_names_and_places_and_hold_the_adapters_of_their_own_layers() -> None:
    plain, adapted = _created("test_convnext"), _adapted("test_convnext")
    assert [group.name for group in adapted.groups] == [group.name for group in plain.groups]
    for before, after in zip(plain.groups, adapted.groups, strict=True):
        assert {f"{name.rsplit('.lora_', 1)[0]}.weight" for name in after.parameters} <= set(before.parameters)


def test_the_options_reach_the_layers() -> None:
    layer = _adapted("test_vit", rank=3, alpha=6, dropout=0.25).get_submodule("body.blocks.0.attn.qkv")
    assert layer.lora_A.default.weight.shape[0] == 3
    assert layer.scaling == {"default": 2.0}
    assert isinstance(layer.lora_dropout.default, nn.Dropout)
    assert layer.lora_dropout.default.p == 0.25


def test_the_first_values_are_those_of_the_seed() -> None:
    first, again = _adapted("test_vit").state_dict(), _adapted("test_vit").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
