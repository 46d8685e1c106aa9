"""torchvision's networks become backbones by a name of their own, with weights from wherever they may come."""

from pathlib import Path

import pytest
import torch
import torchvision

from thaw.backbones import family, timm_models, torchvision_models, weights
from thaw.config.experiment import Weights
from thaw.errors import ModelError

NAMES = torchvision_models.names()
SMALLEST = "torchvision/shufflenet_v2_x0_5"


def test_a_prefix_chooses_the_library() -> None:
    assert family.of(SMALLEST) is torchvision_models
    assert family.of("resnet50") is timm_models
    assert family.names("*shufflenet*") == NAMES == family.names("shufflenet_v2_*")
    assert set(NAMES) | set(timm_models.names()) == set(family.names())


def test_facts_are_those_of_the_published_weights() -> None:
    made = torchvision_models.create(SMALLEST, 32)
    assert (made.mean, made.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torchvision_models.input_size(SMALLEST) == 224
    assert [group.name for group in made.groups] == ["conv1", "stage2", "stage3", "stage4", "conv5"]
    assert [one.stride for one in made.maps] == [4, 8, 16, 32]


@pytest.mark.parametrize("name", ["torchvision/shufflenet_v2_x1", "torchvision/resnet50", "torchvision/"])
def test_an_unknown_name_is_refused_listing_those_there_are(name: str) -> None:
    for ask in (torchvision_models.input_size, lambda one: family.of(one).create(one, 64)):
        with pytest.raises(ModelError, match=r"model\.backbone: .*shufflenet_v2_x0_5, .*those of timm") as caught:
            ask(name)
        assert ("did you mean 'torchvision/shufflenet_v2_x1_" in str(caught.value)) == ("shuffle" in name)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_what_torchvisions_own_classifier_receives(name: str) -> None:
    torch.manual_seed(0)
    own = torchvision.models.get_model(name.removeprefix(torchvision_models.PREFIX), weights=None).eval()
    made = torchvision_models.create_from(name, 64, own.state_dict()).eval()
    images = torch.randn(2, 3, 64, 64)
    pooled = made(images, with_maps=False).pooled
    assert torch.equal(own.fc(pooled), own(images))
    assert torch.equal(made(images, with_maps=True).pooled, pooled)


def test_a_state_of_torchvision_is_loaded_from_a_file_without_its_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    torch.save(state, tmp_path / "shuffle.pth")
    made, origin = weights.load(SMALLEST, Weights(source="path", path=str(tmp_path / "shuffle.pth")), 32)
    own = {name.removeprefix("body."): value for name, value in made.state_dict().items()}
    assert set(state) - set(own) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[name]) for name, value in own.items())
    assert origin == weights.Origin("path", weights.digest(made.state_dict()))


@pytest.mark.parametrize("lost", ["stage3.0.branch2.0.weight", "conv5.1.running_mean"])
def test_a_file_that_lacks_weights_is_refused_naming_one(lost: str, tmp_path: Path) -> None:
    state = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    del state[lost]
    torch.save(state, tmp_path / "shuffle.pth")
    with pytest.raises(ModelError, match=f"shuffle.pth does not fit {SMALLEST}.*{lost}"):
        weights.load(SMALLEST, Weights(source="path", path=str(tmp_path / "shuffle.pth")), 32)


def test_no_weights_means_a_new_network_and_no_package_has_any() -> None:
    made, origin = weights.load(SMALLEST, Weights(source="none"), 32)
    assert origin == weights.Origin("none", weights.digest(made.state_dict()))
    with pytest.raises(ModelError, match=f"no package carries weights of {SMALLEST}"):
        weights.load(SMALLEST, Weights(source="package"), 32)
