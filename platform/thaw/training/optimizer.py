"""The optimizer, with one parameter group per layer group and kind of weight.

A group enters when it opens and leaves when it closes. Freezing by a rate of zero would not do: Adam's moments
would move on, and the first step after opening would jump.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.optim import get_optimizer_class, get_optimizer_info, list_optimizers
from torch import nn
from torch.optim import Optimizer

from thaw.catalog import did_you_mean
from thaw.config import experiment
from thaw.errors import ConfigError
from thaw.model import FinetuneModel

NAME = "name"
"""Key of a parameter group that holds its layer group's name."""


_UNSET = 1e-12
"""The rate before `set_rates`: nothing, as far as an optimizer is concerned that wants one above 0."""

_OWN_BETAS = ("adam", "adamw")
"""Those whose first beta is ``momentum`` unless betas are given."""

_REFUSED = {
    "lookahead": "wraps another optimizer, whose groups could not come and go as layer groups open",
    "lbfgs": "computes the loss several times in a step",
    "sam": "computes the loss twice in a step",
    "adahessian": "needs second derivatives of the loss",
    "kron": "draws random numbers, and workers would draw different ones",
}
"""Beginnings of names, and why such an optimizer cannot be had."""


def check(options: experiment.Optimizer) -> None:
    """Refuse an optimizer that is not there or cannot be used, and settings that it does not have.

    Raises:
        ConfigError: naming the setting.
    """
    _settings(options)


def build(model: FinetuneModel, options: experiment.Optimizer) -> Optimizer:
    """Return an optimizer of the weights that are open in ``model``; rates are set by `set_rates`.

    Raises:
        ConfigError: as for `check`.
    """
    settings = _settings(options)
    parameters = [group for name in _open(model) for group in _split_by_decay(name, model, options.weight_decay)]
    make: Callable[..., Optimizer] = get_optimizer_class(options.name, bind_defaults=False)
    return make(parameters, lr=_UNSET, **settings)


def follow(optimizer: Optimizer, model: FinetuneModel, options: experiment.Optimizer) -> None:
    """Make the optimizer hold what is open in ``model`` now; weights that stay open keep their moments."""
    wanted = _open(model)
    for group in optimizer.param_groups:
        if group[NAME] not in wanted:
            for weight in group["params"]:
                optimizer.state.pop(weight, None)
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group[NAME] in wanted]
    held = {group[NAME] for group in optimizer.param_groups}
    # A new optimizer's groups, because some give weights their first state only as they are built.
    fresh = build(model, options)
    for group in fresh.param_groups:
        if group[NAME] not in held:
            optimizer.param_groups.append(group)
            optimizer.state.update({one: fresh.state[one] for one in group["params"] if one in fresh.state})


def set_rates(optimizer: Optimizer, rates: Mapping[str, float]) -> None:
    """Set the learning rate of every parameter group by its layer group's name."""
    for group in optimizer.param_groups:
        group["lr"] = rates[group[NAME]]


def _open(model: FinetuneModel) -> list[str]:
    """Return the names of the groups that learn, heads first."""
    learning = [
        name
        for name, weights in model.group_parameters()
        if weights and all(weight.requires_grad for weight in weights.values())
    ]
    return learning[::-1]


def _split_by_decay(name: str, model: FinetuneModel, weight_decay: float) -> list[dict[str, object]]:
    """Return one layer group's weights, and apart from them its biases and normalisation weights, undecayed."""
    weights = list(dict(model.group_parameters())[name].values())
    kinds: tuple[tuple[list[nn.Parameter], float], ...] = (
        ([weight for weight in weights if weight.ndim > 1], weight_decay),
        ([weight for weight in weights if weight.ndim <= 1], 0.0),
    )
    return [{"params": kind, "weight_decay": decay, NAME: name} for kind, decay in kinds if kind]


def _settings(options: experiment.Optimizer) -> dict[str, Any]:
    """Return what the optimizer is built with beside its weights and their rates."""
    _check_name(options.name)
    info = get_optimizer_info(options.name)
    takes = inspect.signature(timm.optim.get_optimizer_class(options.name, bind_defaults=False)).parameters
    asked = {name: getattr(options, name) for name in ("betas", "eps", "fused", "nesterov")}
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if name not in takes:
            raise ConfigError(f"finetune.optimizer.{name}: {options.name} has no such setting; leave it out")
    if "betas" in given and len(given["betas"]) != info.num_betas:
        raise ConfigError(f"finetune.optimizer.betas: {options.name} has {info.num_betas} of them")
    first_beta = {"betas": (options.momentum, 0.999)} if options.name in _OWN_BETAS else {}
    settings = {**(info.defaults or {}), **first_beta, **given}
    return settings | _with_momentum(options, settings) if info.has_momentum else settings


def _with_momentum(options: experiment.Optimizer, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's momentum, and whether it is Nesterov's, which no momentum cannot be."""
    if options.nesterov and not options.momentum:
        raise ConfigError("finetune.optimizer.nesterov: needs momentum above 0")
    if "nesterov" not in settings:
        return {"momentum": options.momentum}
    return {"momentum": options.momentum, "nesterov": settings["nesterov"] and options.momentum > 0}


def _check_name(name: str) -> None:
    reason = next((why for start, why in _REFUSED.items() if name.startswith(start)), None)
    if reason is None and name in list_optimizers():
        info = get_optimizer_info(name)
        if isinstance(info.opt_class, str):
            reason = f"is {info.opt_class}, a package that Thaw does not use"
        elif (info.defaults or {}).get("corrected_weight_decay"):
            reason = "measures its weight decay by one highest rate, and every group has a rate of its own"
    elif reason is None:
        near = did_you_mean(name, [str(one) for one in list_optimizers()])
        raise ConfigError(
            f"finetune.optimizer.name: timm {timm.__version__} has no optimizer {name!r}{near}; common ones are "
            "adamw, adam, sgd, rmsprop, nadamw, lamb and lion"
        )
    if reason is not None:
        raise ConfigError(f"finetune.optimizer.name: {name} {reason}; choose another, such as adamw")
