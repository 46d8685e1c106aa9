"""Folding: batch normalisation put into the convolutions in front of it, for answering.

With its statistics held it multiplies each channel by one number and adds another, which the convolution does as well
along with its own: every map is read and written once less. Answers differ by rounding alone, and that is checked.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from thaw.backbones.contract import Features
from thaw.bundle import Bundle
from thaw.model import FinetuneModel

_OFF = 1e-3
"""Largest difference of a map, as a share of its largest value, that is rounding."""


def fold(bundle: Bundle) -> int:
    """Fold what can be folded of a bundle that will not learn, and return how many normalisations are gone.

    Nothing is changed of one with adapters, which shares its weights with others, nor where the maps of a made-up image
    come out otherwise than before.
    """
    if bundle.description.model.lora is not None:
        return 0
    model, side = bundle.model, bundle.description.preprocess.size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=generator).to(model.mean.device)
    pairs, before = _traced(model, pixels)
    undo = [_folded(model, norm, conv) for norm, conv in pairs.items()]
    if undo and not _same(before, _maps(model, pixels)):
        for norm, stand_in, conv, weight, bias in undo:
            conv.weight, conv.bias = weight, bias
            _put(model, stand_in, norm)
        return 0
    return len(undo)


def _traced(model: FinetuneModel, pixels: Tensor) -> tuple[dict[nn.BatchNorm2d, nn.Conv2d], list[Tensor]]:
    """Return normalisation -> the convolution whose output it is always and alone given, and all maps of an image."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the tensors, so that no other one gets their ids
    given: dict[nn.BatchNorm2d, list[nn.Conv2d | None]] = defaultdict(list)
    calls: dict[nn.Conv2d, int] = defaultdict(int)

    def convolved(conv: Any, _inputs: Any, output: Tensor) -> None:
        made[id(output)] = conv, output
        calls[conv] += 1

    def normalised(norm: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        given[norm].append(made.get(id(inputs[0]), (None,))[0])

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(convolved))
            elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and not module.training:
                hooks.enter_context(module.register_forward_hook(normalised))
        maps = _maps(model, pixels)
    taken = [conv for convs in given.values() for conv in set(convs)]
    pairs = {norm: convs[0] for norm, convs in given.items() if len(set(convs)) == 1 and convs[0] is not None}
    return {
        norm: conv for norm, conv in pairs.items() if taken.count(conv) == 1 and calls[conv] == len(given[norm])
    }, maps


def _maps(model: FinetuneModel, pixels: Tensor) -> list[Tensor]:
    """Return the pooled vector and the maps that heads are given."""
    with torch.inference_mode():
        features: Features = model.features(pixels)
    return [features.pooled.float(), *(one.float() for one in features.maps)]


def _same(before: list[Tensor], after: list[Tensor]) -> bool:
    each = zip(before, after, strict=True)
    return all(bool((one - other).abs().max() <= _OFF * one.abs().max()) for one, other in each)


_Undo = tuple[nn.BatchNorm2d, nn.Module, nn.Conv2d, Any, Any]


def _folded(model: FinetuneModel, norm: nn.BatchNorm2d, conv: nn.Conv2d) -> _Undo:
    """Fold one, and return what undoes it."""
    weight, bias = conv.weight, conv.bias
    held: tuple[Any, Any] = norm.running_mean, norm.running_var  # those without were passed over
    conv.weight, conv.bias = fuse_conv_bn_weights(weight, bias, *held, norm.eps, norm.weight, norm.bias)
    conv.requires_grad_(False)
    after = [one for name, one in norm.named_children() if name in ("drop", "act")]  # of timm, which joins them
    stand_in = nn.Sequential(*after).eval()
    _put(model, norm, stand_in)
    return norm, stand_in, conv, weight, bias


def _put(model: FinetuneModel, old: nn.Module, new: nn.Module) -> None:
    for parent, name in list(_places(model, old)):
        setattr(parent, name, new)


def _places(model: FinetuneModel, wanted: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    return ((parent, name) for parent in model.modules() for name, child in parent.named_children() if child is wanted)
