"""Prune: a backbone with fewer channels, or with most of its weights zero; what is left should learn afterwards.

Heads and pyramid keep their width. Which channels belong together, because layers are added or scaled by one another,
is found by the library Torch-Pruning from the flow of gradients.

Source: Fang et al. 2023, arXiv:2301.12900; for single weights Han et al. 2015, arXiv:1506.02626.
"""

import copy
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from thaw.backends.formats.contract import needed
from thaw.bundle import Bundle
from thaw.errors import ModelError
from thaw.model import FinetuneModel

EXTRA = "thaw-vision[export]"
_ROUND = 8
"""Channels are kept in multiples of so many, which processors compute at a time."""
_LAYERS = (nn.Conv2d, nn.Linear)


def without_channels(bundle: Bundle, share: float) -> Bundle:
    """Return a copy without a share of the channels of its backbone, in each layer those of the smallest weights.

    Raises:
        ModelError: Torch-Pruning is not installed, or does not understand the network.
    """
    tools = needed("torch_pruning", EXTRA, "--prune")
    model = _copied(bundle)
    size = bundle.description.preprocess.size
    before = parameters(model)
    above = [model.heads] if model.pyramid is None else [model.heads, model.pyramid]
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells how it takes weights that lie in no layer
            tools.pruner.BasePruner(
                model,
                example,
                importance=tools.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=share,
                ignored_layers=[layer for part in above for layer in part.modules() if isinstance(layer, _LAYERS)],
                round_to=_ROUND,
                output_transform=_sum,
            ).step()
        with torch.no_grad():
            model(example)
    except Exception as error:  # noqa: BLE001 - whatever code meets that was not written to be traced
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"--prune: {bundle.description.model.backbone} cannot be pruned: {reason}; use --sparse"
        ) from None
    if parameters(model) == before:
        raise ModelError(f"--prune: no channel of {bundle.description.model.backbone} can be taken away")
    return replace(bundle, model=model.eval())


def without_weights(bundle: Bundle, share: float) -> Bundle:
    """Return a copy with the smallest weights of its backbone's layers set to zero; they stay so while it learns."""
    model = _copied(bundle)
    layers = [(layer, "weight") for layer in model.backbone.modules() if isinstance(layer, _LAYERS)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=share)
    for layer, name in layers:
        prune.remove(layer, name)  # type: ignore[no-untyped-call]
        _hold_zeros(layer.weight)
    return replace(bundle, model=model.eval())


def parameters(model: nn.Module) -> int:
    """Return how many weights a model has."""
    return sum(one.numel() for one in model.parameters())


def _copied(bundle: Bundle) -> FinetuneModel:
    """Return a copy of a bundle's model with every group open, which is how gradients are seen to flow."""
    model = copy.deepcopy(bundle.model)
    model.open_groups(len(model.groups))
    return model.eval()


def _hold_zeros(weight: Any) -> None:
    """Let no gradient reach the weights that are zero now: no optimizer moves them then."""
    kept: Tensor = (weight.detach() != 0).to(weight.dtype)

    def hold(gradient: Tensor) -> Tensor:
        return gradient * kept.to(gradient.device)

    weight.register_hook(hold)


def _sum(outputs: Any) -> Tensor:
    """Return a number that every output flows into."""
    if isinstance(outputs, Tensor):
        return outputs.float().sum()
    parts = torch.stack([_sum(one) for one in outputs.values()])
    return parts.sum()
