"""A bundle whose normalisations are folded answers as before, and what cannot be folded is left alone."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import stored as made
from stored import Stored
from thaw.backbones.contract import Features
from thaw.backends import folding
from thaw.backends.load import load_bundle
from thaw.bundle import Bundle
from thaw.config.experiment import Lora
from thaw.registry import store

PIXELS = torch.randint(
    0, 256, (2, 3, made.SIZE, made.SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return made.stored(tmp_path_factory.mktemp("stored"))


def _copied(stored: Stored) -> Bundle:
    return replace(stored.bundle, model=copy.deepcopy(stored.bundle.model))


def _norms(of: Bundle) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in of.model.modules())


def _off(one: Bundle, other: Bundle) -> float:
    found, again = one.readouts(PIXELS), other.readouts(PIXELS)
    return max(float((found[task][name] - again[task][name]).abs().max()) for task in found for name in found[task])


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_byobnet", "test_vit", "test_convnext"])
def test_every_normalisation_behind_a_convolution_is_gone_and_answers_are_the_same(
    backbone: str, tmp_path: Path
) -> None:
    found = made.stored(tmp_path, backbone)
    for norm in found.bundle.model.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    folded = _copied(found)
    assert folding.fold(folded) == _norms(found.bundle)
    assert _norms(folded) == 0
    assert _off(found.bundle, folded) < 1e-5
    assert not any(weight.requires_grad for weight in folded.model.backbone.parameters())


def test_what_is_loaded_to_answer_is_folded(stored: Stored) -> None:
    loaded = load_bundle(stored.root, store.resolve(stored.root, stored.reference))
    assert _norms(loaded) == 0 < _norms(stored.bundle)


def test_what_would_answer_otherwise_is_as_it_was(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(weight: Tensor, bias: Tensor | None, *_: object) -> tuple[nn.Parameter, nn.Parameter]:
        return nn.Parameter(2 * weight), nn.Parameter(torch.ones(len(weight)))

    monkeypatch.setattr(folding, "fuse_conv_bn_weights", wrong)
    kept = _copied(stored)
    assert folding.fold(kept) == 0
    assert _norms(kept) == _norms(stored.bundle)
    assert _off(stored.bundle, kept) == 0


def test_weights_beneath_adapters_stay_what_others_share(stored: Stored) -> None:
    chosen = stored.bundle.description.model.model_copy(update={"lora": Lora()})
    kept = _copied(stored)
    described = kept.description.model_copy(update={"model": chosen})
    assert folding.fold(replace(kept, description=described)) == 0
    assert _norms(kept) == _norms(stored.bundle)


class _Joined(nn.Module):
    """Convolutions and normalisations that are joined in some way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.norm, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.eval()

    def features(self, pixels: Tensor) -> Features:
        seen = pixels.float()
        match self.way:
            case "twice":
                found = self.norm(self.conv(seen)) + self.norm(self.conv(seen + 1))
            case "fork":
                made = self.conv(seen)
                found = self.norm(made) + self.second(made)
            case "two convolutions":
                found = self.norm(self.conv(seen)) + self.norm(self.other(seen))
            case "also without":
                found = self.norm(self.conv(seen)) + self.conv(seen)
            case _:
                found = self.norm(torch.relu(self.conv(seen)))
        return Features(found.mean((2, 3)), seen.shape[-1])


@pytest.mark.parametrize(
    ("way", "pairs"), [("twice", 1), ("fork", 0), ("two convolutions", 0), ("also without", 0), ("in between", 0)]
)
def test_only_what_belongs_to_one_convolution_is_put_into_it(way: str, pairs: int) -> None:
    found, _ = folding._traced(_Joined(way), PIXELS)  # type: ignore[arg-type]
    assert len(found) == pairs
