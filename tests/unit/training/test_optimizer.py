"""The optimizer holds exactly what is open, and what stays open keeps its momentum."""

import io
from typing import Any

import pytest
import timm
import torch
from timm.optim import get_optimizer_info, list_optimizers
from torch import Tensor, nn

from thaw.backbones import timm_models
from thaw.backbones.contract import Backbone, Features, LayerGroup
from thaw.config.experiment import Optimizer
from thaw.errors import ConfigError
from thaw.model import HEADS, FinetuneModel
from thaw.tasks.contract import HeadInputs, PooledHead
from thaw.training import optimizer

KINDS = ("adamw", "sgd")

REFUSED = {
    "lookahead_adamw": "wraps another optimizer",
    "lookahead": "wraps another optimizer",
    "lbfgs": "computes the loss several times in a step",
    "sam": "computes the loss twice in a step",
    "adahessian": "needs second derivatives of the loss",
    "kron": "workers would draw different ones",
    "kronw": "workers would draw different ones",
    "adamc": "measures its weight decay by one highest rate",
    "sgdc": "measures its weight decay by one highest rate",
    "fusedadam": "is apex.optimizers.FusedAdam, a package that Thaw does not use",
    "bnbadamw8bit": "is bitsandbytes.optim.AdamW8bit, a package that Thaw does not use",
}


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


class _Small(Backbone):
    """Three layer groups of a few weights each: what eighty optimizers can step through in a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict(
            {
                "stem": nn.Conv2d(3, 4, 3, stride=4),
                "mid": nn.Sequential(nn.Conv2d(4, 6, 3, stride=4), nn.BatchNorm2d(6)),
                "high": nn.Conv2d(6, 8, 1),
            }
        )
        self.num_features, self.maps, self.mean, self.std = 8, (), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
        named = [name for name, _ in self.body.named_parameters()]
        self.groups = tuple(
            LayerGroup(group, tuple(name for name in named if name.startswith(f"{group}."))) for group in self.body
        )

    def forward(self, images: Tensor, with_maps: bool) -> Features:
        for layer in self.body.values():
            images = layer(images).tanh()
        return Features(images.mean((2, 3)), 32)


def _small(depth: int) -> FinetuneModel:
    torch.manual_seed(0)
    model = FinetuneModel(_Small(), None, {"kind": PooledHead(HeadInputs(8, 0.0, 8, ()), 3)}, "held")
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
def test_every_open_weight_is_held_once_and_no_frozen_one_at_any_depth(kind: str, backbone: str) -> None:
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
def test_weights_decay_but_biases_and_normalisation_do_not(kind: str) -> None:
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


@pytest.mark.parametrize("kind", ["adamw", "sgd", "adam", "rmsprop", "adagrad", "lamb", "lion", "muon", "adafactor"])
def test_what_stays_open_keeps_its_moments_and_what_closes_loses_them(kind: str) -> None:
    options = Optimizer(name=kind)
    model = _small(2)
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
    assert kind == "adagrad" or set(trained.state) == opened  # others give those opened anew none yet
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
    assert isinstance(optimizer.build(_model(), Optimizer(name="adam")), torch.optim.Adam)
    assert isinstance(optimizer.build(_model(), Optimizer(name="rmsprop")), torch.optim.RMSprop)
    assert isinstance(optimizer.build(_model(), Optimizer(name="lamb")), timm.optim.Lamb)


@pytest.mark.parametrize(
    ("options", "built"),
    [
        ({"name": "sgd", "nesterov": False}, {"nesterov": False, "momentum": 0.9}),
        ({"name": "sgd", "momentum": 0}, {"nesterov": False, "momentum": 0.0}),
        ({"name": "nesterovw", "momentum": 0.5}, {"nesterov": True, "momentum": 0.5}),
        ({"name": "momentum", "momentum": 0.5}, {"nesterov": False, "momentum": 0.5}),
        ({"name": "rmsprop", "momentum": 0.5}, {"momentum": 0.5, "alpha": 0.9}),
        ({"name": "adam", "betas": [0.7, 0.8], "eps": 1e-6}, {"betas": (0.7, 0.8), "eps": 1e-6}),
        ({"name": "adam", "momentum": 0.7}, {"betas": (0.7, 0.999), "eps": 1e-8}),
        ({"name": "lion", "momentum": 0.7}, {"betas": (0.9, 0.99)}),
        ({"name": "adan", "betas": [0.7, 0.8, 0.9]}, {"betas": (0.7, 0.8, 0.9)}),
        ({"name": "adamw", "fused": True}, {"fused": True}),
        ({"name": "adamw"}, {"fused": None}),
    ],
)
def test_settings_reach_the_optimizer_and_what_is_left_out_is_its_own(
    options: dict[str, Any], built: dict[str, Any]
) -> None:
    for group in optimizer.build(_model(), Optimizer.model_validate(options)).param_groups:
        assert {key: group[key] for key in built} == built


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "lion", "eps": 1e-6}, "eps: lion has no such setting; leave it out"),
        ({"name": "sgd", "betas": [0.9, 0.9]}, "betas: sgd has no such setting; leave it out"),
        ({"name": "adamw", "nesterov": True}, "nesterov: adamw has no such setting; leave it out"),
        ({"name": "lamb", "fused": True}, "fused: lamb has no such setting; leave it out"),
        ({"name": "adamw", "betas": [0.9, 0.9, 0.9]}, "betas: adamw has 2 of them"),
        ({"name": "adan", "betas": [0.9, 0.9]}, "betas: adan has 3 of them"),
        ({"name": "sgd", "nesterov": True, "momentum": 0}, "nesterov: needs momentum above 0"),
    ],
)
def test_a_setting_that_the_optimizer_does_not_have_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        optimizer.check(Optimizer.model_validate(options))
    assert str(caught.value) == f"finetune.optimizer.{words}"


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_an_optimizer_that_cannot_be_used_is_refused_saying_why(name: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        optimizer.check(Optimizer(name=name))
    assert str(caught.value).startswith(f"finetune.optimizer.name: {name} ")
    assert why in str(caught.value)


def test_an_unknown_optimizer_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        optimizer.build(_model(), Optimizer(name="adamww"))
    assert str(caught.value) == (
        f"finetune.optimizer.name: timm {timm.__version__} has no optimizer 'adamww'; did you mean 'adamw'?; common "
        "ones are adamw, adam, sgd, rmsprop, nadamw, lamb and lion"
    )


def _usable(name: str) -> bool:
    try:
        optimizer.check(Optimizer(name=name))
    except ConfigError:
        return False
    return True


def test_everything_of_timm_is_usable_but_what_is_refused_for_a_reason() -> None:
    usable = [name for name in list_optimizers() if _usable(name)]
    assert {"adam", "adamw", "sgd", "rmsprop", "lamb", "lars", "lion", "adafactor", "nadamw", "muon"} <= set(usable)
    assert len(usable) > 60
    for name in set(list_optimizers()) - set(usable):
        info = get_optimizer_info(name)
        far = isinstance(info.opt_class, str) or info.second_order or name.startswith("kron")
        assert far or (info.defaults or {})["corrected_weight_decay"], name


@pytest.mark.parametrize("name", [name for name in list_optimizers() if _usable(name)])
def test_every_optimizer_goes_on_from_its_saved_state_bit_by_bit_as_groups_open(name: str) -> None:
    """Three steps, a checkpoint, and four more in another process, while groups open and close."""
    options = Optimizer(name=name)
    whole, again = _small(1), _small(1)
    trained = optimizer.build(whole, options)
    for _ in range(3):
        _step(whole, trained, 1e-3)
    saved = io.BytesIO()
    torch.save((whole.state_dict(), trained.state_dict()), saved)
    saved.seek(0)
    weights, moments = torch.load(saved, weights_only=True)
    again.load_state_dict(weights)
    resumed = optimizer.build(again, options)
    resumed.load_state_dict(moments)
    for model, optimized in ((whole, trained), (again, resumed)):
        for depth in (2, 1, 3, 3):
            model.open_groups(depth)
            optimizer.follow(optimized, model, options)
            _step(model, optimized, 1e-3)
    before = weights["backbone.body.stem.weight"]
    for (key, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
        assert bool(torch.isfinite(one).all()), key
    assert not torch.equal(before, whole.state_dict()["backbone.body.stem.weight"])
