"""The optimizer, with one parameter group per layer group and kind of weight.

A group enters when it opens and leaves when it closes. Freezing by a rate of zero would not do: Adam's moments
would move on, and the first step after opening would jump.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from thaw.config import experiment
from thaw.model import FinetuneModel

NAME = "name"
"""Key of a parameter group that holds its layer group's name."""


def build(model: FinetuneModel, options: experiment.Optimizer) -> Optimizer:
    """Return an optimizer of the weights that are open in ``model``; rates are set by `set_rates`."""
    parameters = [group for name in _open(model) for group in _split_by_decay(name, model, options.weight_decay)]
    if options.name == "adamw":
        return torch.optim.AdamW(parameters, lr=0.0, betas=(options.momentum, 0.999))
    return torch.optim.SGD(parameters, lr=0.0, momentum=options.momentum, nesterov=options.momentum > 0)


def follow(optimizer: Optimizer, model: FinetuneModel, options: experiment.Optimizer) -> None:
    """Make the optimizer hold what is open in ``model`` now; weights that stay open keep their moments."""
    wanted = _open(model)
    for group in optimizer.param_groups:
        if group[NAME] not in wanted:
            for weight in group["params"]:
                optimizer.state.pop(weight, None)
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group[NAME] in wanted]
    held = {group[NAME] for group in optimizer.param_groups}
    for name in wanted:
        if name not in held:
            for group in _split_by_decay(name, model, options.weight_decay):
                optimizer.add_param_group(group)


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
