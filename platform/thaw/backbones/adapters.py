"""Adapters: low-rank updates beside a backbone's own weights, which then never learn.

The layers are peft's. Which of a network's layers get one is decided here, from the layers themselves; when an
adapter learns is the business of the layer group that its layer sits in.

Source: Hu et al. 2021, arXiv:2106.09685.
"""

import importlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from thaw.backbones.contract import Backbone, LayerGroup
from thaw.config.experiment import Lora
from thaw.errors import ConfigError, ModelError

_BODY = "body."
_ADAPTER = "default"
"""The name that peft gives to a layer's only adapter."""
_ATTENTION = frozenset({"qkv", "q", "k", "v", "kv", "q_proj", "k_proj", "v_proj"})
"""What timm's vision transformers call the layers that make queries, keys and values."""
_ENOUGH = 1 / 6
"""Least share of the weights which a kind of layer must hold to stand for the whole network. Queries, keys and values
hold 0.17 to 0.25 of a transformer; pointwise convolutions 0.3 to 1 of a network built of them, and 0.02 of a ResNet-18,
where only shortcuts are such."""


def add(backbone: Backbone, options: Lora, image_size: int) -> Backbone:
    """Put adapters beside layers of a backbone, in place, and return it; it answers as before until they learn.

    Its layer groups keep their names and places, and hold the adapters of their layers in place of the layers' weights.

    Args:
        options: how many and where; their first values are drawn from torch's global generator.
        image_size: side of the input in pixels.

    Raises:
        ConfigError: a target names no layer that can have an adapter, or the network has none.
        ModelError: peft is not installed.
    """
    peft = _peft()
    targets = _targets(_reached(backbone, _candidates(backbone), image_size), options)
    settings = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules="|".join(re.escape(_BODY + name) for name in targets),
    )
    owners = {name: group.name for group in backbone.groups for name in group.parameters}
    peft.inject_adapter_in_model(settings, backbone, _ADAPTER)
    learn = {name: owners[f"{name}.weight"] for name in targets}
    backbone.groups = tuple(_adapted(backbone, group, learn) for group in backbone.groups)
    adapters = {_BODY + name for group in backbone.groups for name in group.parameters}
    backbone.base = frozenset(backbone.state_dict()) - adapters
    return backbone


def merged_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return the state of the same backbone without adapters, that answers as this one does with them."""
    layers = {name: module for name, module in backbone.named_modules() if hasattr(module, "get_delta_weight")}
    state = backbone.state_dict()
    with torch.no_grad():
        for name, layer in layers.items():
            state[f"{name}.base_layer.weight"] = layer.base_layer.weight + layer.get_delta_weight(_ADAPTER)
    return {_bare(name): state[name] for name in state if name in backbone.base}


def base_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """Return what lies beneath the adapters of a backbone, by the names that it would have without them."""
    state = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    return {_bare(name): state[name] for name in backbone.base}


def share_base(backbone: Backbone, base: Mapping[str, Tensor]) -> None:
    """Let a backbone compute with the very tensors of `base_tensors` of another one, in place of its own equal ones.

    Raises:
        ValueError: they are of another network.
    """
    own = {_bare(name): name for name in backbone.base}
    if own.keys() != base.keys():
        raise ValueError("the tensors beneath the adapters are not those of this network")
    for bare, name in own.items():
        holder, _, last = name.rpartition(".")
        module = backbone.get_submodule(holder)
        kind = module._parameters if last in module._parameters else module._buffers
        kind[last] = base[bare]  # type: ignore[assignment]


def _bare(name: str) -> str:
    return name.replace(".base_layer.", ".")


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError:
        raise ModelError(
            "model.lora: peft is not installed; run `pip install 'thaw-vision[lora]'` on every node"
        ) from None


def _candidates(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the layers below the body that can have an adapter, by name.

    Subclasses are left out, for they compute something else of their weights, and dilated convolutions because peft's
    adapters of them are not dilated.
    """
    return {
        name.removeprefix(_BODY): module
        for name, module in backbone.named_modules()
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and _is_plain(module))
    }


def _is_plain(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 and set(conv.dilation) == {1} and conv.padding_mode == "zeros"


def _reached(backbone: Backbone, layers: Mapping[str, nn.Module], image_size: int) -> dict[str, nn.Module]:
    """Return those of the layers that a forward pass calls: where only their weights are read, an adapter is idle."""
    called: set[str] = set()
    hooks = [layer.register_forward_hook(partial(_note, called, name)) for name, layer in layers.items()]
    modes = {module: module.training for module in backbone.modules()}
    images = torch.zeros(1, 3, image_size, image_size, device=next(backbone.parameters()).device)
    with torch.inference_mode():
        backbone.eval()(images, False)
    for module, mode in modes.items():
        module.training = mode
    for hook in hooks:
        hook.remove()
    return {name: layer for name, layer in layers.items() if name in called}


def _note(called: set[str], name: str, *_passed: Any) -> None:
    called.add(name)


def _targets(layers: Mapping[str, nn.Module], options: Lora) -> list[str]:
    if options.targets is None:
        return _by_default(layers, options.rank)
    for pattern in options.targets:
        if not any(_is_meant(name, pattern) for name in layers):
            raise ConfigError(
                f"model.lora.targets: {pattern!r} is the end of no linear layer's or plain convolution's name in this "
                f"backbone; there are {_listed(layers)}"
            )
    return [name for name in layers if any(_is_meant(name, pattern) for pattern in options.targets)]


def _is_meant(name: str, pattern: str) -> bool:
    return fnmatchcase(f".{name}", f"*.{pattern}")


def _listed(layers: Iterable[str]) -> str:
    """Return the layers' last names, each with the first layer of that name."""
    first: dict[str, str] = {}
    for name in layers:
        first.setdefault(name.rpartition(".")[2], name)
    return ", ".join(f"{last} ({name})" for last, name in first.items()) or "none"


def _by_default(layers: Mapping[str, nn.Module], rank: int) -> list[str]:
    """Return queries, keys and values; where they are few, linear layers and pointwise convolutions; else all."""
    sizes = {name: _weights(layer) for name, layer in layers.items() if _adapter_weights(layer, rank) < _weights(layer)}
    if not sizes:
        raise ConfigError(
            f"model.lora.rank: no layer of this backbone is larger than an adapter of rank {rank}; lower it, or name "
            f"model.lora.targets among {_listed(layers)}"
        )
    attention = [name for name in sizes if name.rpartition(".")[2] in _ATTENTION]
    pointwise = [name for name in sizes if _kernel(layers[name])[2:].numel() == 1]
    enough = _ENOUGH * sum(sizes.values())
    kinds = (attention, pointwise, list(sizes))
    return next(kind for kind in kinds if sum(sizes[name] for name in kind) >= enough)


def _weights(layer: nn.Module) -> int:
    return _kernel(layer).numel()


def _adapter_weights(layer: nn.Module, rank: int) -> int:
    made, *given = _kernel(layer)
    return rank * (made + torch.Size(given).numel())


def _kernel(layer: nn.Module) -> torch.Size:
    weight: Any = layer.weight
    return torch.Size(weight.shape)


def _adapted(backbone: Backbone, group: LayerGroup, learn: Mapping[str, str]) -> LayerGroup:
    """Return the group with the adapters of its layers for parameters.

    Args:
        learn: adapted layer -> name of its group.
    """
    inside = tuple(f"{_BODY}{name}.lora_" for name, owner in learn.items() if owner == group.name)
    held = (name for name, _ in backbone.named_parameters() if name.startswith(inside))
    return LayerGroup(group.name, tuple(name.removeprefix(_BODY) for name in held))
