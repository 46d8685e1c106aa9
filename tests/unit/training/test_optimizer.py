"""The optimizer holds exactly what is open, and what stays open keeps its momentum."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from thaw.backbones import timm_models
from thaw.config.experiment import Optimizer
from thaw.model import HEADS, FinetuneModel
from thaw.tasks.contract import HeadInputs, PooledHead
from thaw.training import optimizer

KINDS = ("adamw", "sgd")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _model(depth: int = 0, name: str = "test_resnet") -> FinetuneModel:
    torch.manual_seed(0)
    backbone = timm_models.create(name, 32)
    heads = {"kind": PooledHead(HeadInputs(backbone.num_features, 0.0, 8, ()), 3)}
    model = FinetuneModel(backbone, None, heads, "held")
    model.open_groups(depth)
    return model


def _step(model: FinetuneModel, trained: torch.optim.Optimizer, rate: float = 1e-2) -> None:
    optimizer.set_rates(trained, dict.fromkeys((*(group.name for group in model.groups), HEADS), rate))
    trained.zero_grad(set_to_none=True)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    nn.functional.cross_entropy(model(pixels)["kind"], torch.tensor([0, 1, 2, 0])).backward()
    trained.step()


def _copied(kept: dict[str, Any]) -> dict[str, Tensor]:
    return {key: torch.as_tensor(value).clone() for key, value in kept.items()}


def _held(trained: torch.optim.Optimizer) -> list[int]:
    return sorted(id(weight) for group in trained.param_groups for weight in group["params"])


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_open_weight_is_held_once_and_no_frozen_one_at_any_depth(
    kind: Literal["adamw", "sgd"], backbone: str
) -> None:
    options = Optimizer(name=kind)
    model = _model(name=backbone)
    trained = optimizer.build(model, options)
    depths = [*range(len(model.groups) + 1), 2, 0, 3]
    for depth in depths:
        model.open_groups(depth)
        optimizer.follow(trained, model, options)
        opened = sorted(id(weight) for weight in model.parameters() if weight.requires_grad)
        assert _held(trained) == opened
        assert _held(optimizer.build(model, options)) == opened


def test_every_group_is_known_by_the_layer_group_of_its_weights() -> None:
    model = _model(5)
    owner = {id(weight): name for name, weights in model.group_parameters() for weight in weights.values()}
    trained = optimizer.build(model, Optimizer())
    assert {group[optimizer.NAME] for group in trained.param_groups} == {*model.open_names(), HEADS}
    for group in trained.param_groups:
        assert {owner[id(weight)] for weight in group["params"]} == {group[optimizer.NAME]}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_decay_but_biases_and_normalisation_do_not(kind: Literal["adamw", "sgd"]) -> None:
    model = _model(5)
    names = {id(weight): name for name, weight in model.named_parameters()}
    undecayed = set()
    for group in optimizer.build(model, Optimizer(name=kind, weight_decay=0.25)).param_groups:
        assert group["weight_decay"] in (0.25, 0.0)
        if not group["weight_decay"]:
            undecayed |= {names[id(weight)] for weight in group["params"]}
    wanted = {
        f"{place}.{name}"
        for place, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.BatchNorm2d)
    }
    assert undecayed == wanted


def test_a_group_that_opens_later_decays_like_one_that_was_open_from_the_start() -> None:
    options = Optimizer(weight_decay=0.25)
    model = _model(1)
    trained = optimizer.build(model, options)
    model.open_groups(3)
    optimizer.follow(trained, model, options)
    assert _decays(trained) == _decays(optimizer.build(model, options))


def _decays(trained: torch.optim.Optimizer) -> dict[int, float]:
    return {id(weight): group["weight_decay"] for group in trained.param_groups for weight in group["params"]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_open_keeps_its_moments_and_what_closes_loses_them(kind: Literal["adamw", "sgd"]) -> None:
    options = Optimizer(name=kind)
    model = _model(2)
    trained = optimizer.build(model, options)
    _step(model, trained)
    copies = {weight: _copied(kept) for weight, kept in trained.state.items()}
    model.open_groups(1)
    optimizer.follow(trained, model, options)
    opened = {weight for weight in model.parameters() if weight.requires_grad}
    assert set(trained.state) == opened
    for weight in opened:
        kept = _copied(trained.state[weight])
        assert kept
        assert all(torch.equal(value, copies[weight][key]) for key, value in kept.items())
    model.open_groups(3)
    optimizer.follow(trained, model, options)
    assert set(trained.state) == opened  # those opened anew have none yet
    _step(model, trained)
    assert {weight for weight in model.parameters() if weight.requires_grad} == set(trained.state)


def test_a_group_that_opens_again_starts_without_the_moments_of_its_earlier_time() -> None:
    options = Optimizer(name="adamw", weight_decay=0.0)
    model = _model(1)
    trained = optimizer.build(model, options)
    for depth in (1, 0, 0, 1):
        model.open_groups(depth)
        optimizer.follow(trained, model, options)
        _step(model, trained)
    done = {
        group[optimizer.NAME]: {float(trained.state[weight]["step"]) for weight in group["params"]}
        for group in trained.param_groups
    }
    assert done == {model.groups[-1].name: {1.0}, HEADS: {4.0}}


def test_rates_go_to_groups_by_name() -> None:
    model = _model(2)
    trained = optimizer.build(model, Optimizer())
    rates = {name: 10.0**-place for place, name in enumerate((*model.open_names(), HEADS))}
    optimizer.set_rates(trained, rates)
    assert {(group[optimizer.NAME], group["lr"]) for group in trained.param_groups} == set(rates.items())


def test_the_optimizer_is_the_one_asked_for() -> None:
    adamw = optimizer.build(_model(), Optimizer(name="adamw", momentum=0.8))
    sgd = optimizer.build(_model(), Optimizer(name="sgd", momentum=0.8))
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(sgd, torch.optim.SGD)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.999)
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.8, True)
    assert isinstance(optimizer.build(_model(), Optimizer(name="sgd", momentum=0)), torch.optim.SGD)
