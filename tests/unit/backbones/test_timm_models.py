"""timm models become backbones, and whatever cannot be one is refused with the way out."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from thaw.backbones import timm_models
from thaw.errors import ModelError

_build = timm.create_model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class _Grouped(nn.Module):
    """Three layers with a matcher of one's choice, as timm's models have."""

    def __init__(self, matcher: dict[str, Any]) -> None:
        super().__init__()
        self.early, self.middle, self.late = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.matcher = matcher

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return self.matcher


@pytest.mark.parametrize(
    "ask", [timm_models.check_name, timm_models.input_size, lambda name: timm_models.create(name, 64)]
)
def test_an_unknown_name_is_refused_with_the_nearest_one(ask: Any) -> None:
    with pytest.raises(ModelError, match=r"no model 'tf_efficientnet_lite9'; did you mean 'tf_efficientnet_lite\d'"):
        ask("tf_efficientnet_lite9")


def test_a_model_that_names_no_groups_is_refused() -> None:
    with pytest.raises(ModelError, match="Linear does not say which weights form a layer group"):
        timm_models.layer_groups(nn.Linear(2, 2))


def test_groups_follow_the_models_own_matcher_input_side_first() -> None:
    groups = timm_models.layer_groups(_Grouped({"first": r"^early|^middle", "second": r"^late"}))
    assert [group.name for group in groups] == ["early", "late"]
    assert groups[0].parameters == ("early.weight", "early.bias", "middle.weight", "middle.bias")


def test_late_weights_that_no_group_names_form_the_last_one() -> None:
    groups = timm_models.layer_groups(_Grouped({"first": r"^early", "second": r"^middle"}))
    assert [group.name for group in groups] == ["early", "middle", "late"]


def test_early_weights_that_no_group_names_are_refused() -> None:
    with pytest.raises(ModelError, match="_Grouped leaves weights without a layer group, such as early.weight"):
        timm_models.layer_groups(_Grouped({"first": r"^middle", "second": r"^late"}))


@pytest.mark.parametrize(("name", "size"), [("twins_pcpvt_small", 50), ("test_vit", 40), ("inception_v3", 32)])
def test_a_size_that_the_model_cannot_take_is_refused_naming_the_setting(name: str, size: int) -> None:
    with pytest.raises(ModelError, match=rf"data\.image\.size: {name} cannot take {size} pixels"):
        timm_models.create(name, size)


def test_a_size_is_tried_once_and_another_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    timm_models.create("test_resnet", 40)
    built: list[str] = []
    monkeypatch.setattr(timm, "create_model", lambda name, **more: built.append(name) or _build(name, **more))
    timm_models.create("test_resnet", 40)
    assert built == ["test_resnet"]
    timm_models.create("test_resnet", 41)
    assert len(built) == 3


def test_groups_whose_weights_begin_alike_have_names_of_their_own() -> None:
    with torch.device("meta"):
        names = [group.name for group in timm_models.create("dpn48b", 64).groups]
    assert len(set(names)) == len(names)


def test_the_size_that_pretrained_weights_saw_is_timms() -> None:
    assert timm_models.input_size("tf_efficientnet_lite0") == 224
    assert timm_models.input_size("inception_v3") == 299


def test_names_are_those_that_match_a_pattern() -> None:
    assert "tf_efficientnet_lite0" in timm_models.names("tf_efficientnet_lite?")
    assert all(name.startswith("test_") for name in timm_models.names("test_*"))
    assert set(timm_models.names("test_*")) < set(timm_models.names())
