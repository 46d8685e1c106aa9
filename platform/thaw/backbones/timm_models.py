"""Backbones from timm: any of its models, with timm's own facts about each.

Layer groups are those of the model's ``group_matcher``. timm puts weights that match nothing into a
group after all others: right for a final norm or a neck, wrong for anything earlier, which is refused here.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import DropPath
from timm.models import group_parameters
from torch import Tensor, nn

from thaw import catalog
from thaw.backbones.contract import Backbone, Features, LayerGroup, MapFacts, no_drop_path
from thaw.backbones.pyramid import FINEST
from thaw.errors import ModelError

LIBRARY = "timm"


class TimmBackbone(Backbone):
    """A timm model without its classifier."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        facts = body.pretrained_cfg
        self.body = body
        self.num_features = int(body.head_hidden_size)  # type: ignore[arg-type]
        self.mean = tuple(facts["mean"])  # type: ignore[index]
        self.std = tuple(facts["std"])  # type: ignore[index]
        self.groups = layer_groups(body)
        places = _map_places(body)
        self.maps = tuple(places.values())
        self._places = list(places)

    def forward(self, images: Tensor, with_maps: bool) -> Features:
        """Return the pooled vector that timm's classifier would have received, and maps where they are wanted."""
        body: Any = self.body
        if with_maps:
            final, maps = body.forward_intermediates(images, indices=self._places)
        else:
            final, maps = body.forward_features(images), ()
        return Features(body.forward_head(final, pre_logits=True), images.shape[-1], tuple(maps))

    def checkpoint_gradients(self) -> bool:
        """Switch on timm's own checkpointing; some of its models have none."""
        try:
            self.body.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AttributeError, AssertionError):
            return False
        return True


def create(
    name: str, image_size: int, pretrained: bool = False, drop_path: float = 0.0, **overlay: Any
) -> TimmBackbone:
    """Build a timm model for square images of ``image_size`` pixels.

    Args:
        name: a timm model name.
        image_size: side of the input in pixels; models with position embeddings are built for it.
        pretrained: load the weights that timm's ``pretrained_cfg`` (with ``overlay``) points at.
        drop_path: share of images for which the last block is passed over in training, falling to 0 at the first.

    Raises:
        ModelError: timm does not know the name, the model cannot take this size, or it has no layer groups or, where
            they are to be dropped, no paths around blocks.
    """
    check_name(name)
    options: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained, **_sized(name, image_size)}
    if overlay:
        options["pretrained_cfg_overlay"] = overlay
    if drop_path:
        options["drop_path_rate"] = drop_path
        _check_drop_path(name, options)
    _check_size(name, image_size)
    return TimmBackbone(timm.create_model(name, **options))


def create_from(name: str, image_size: int, state: Mapping[str, Tensor], drop_path: float = 0.0) -> TimmBackbone:
    """Build a timm model with the values of ``state``, through timm's own renaming and resizing for its family.

    timm passes over what is missing in silence.

    Raises:
        RuntimeError, KeyError: they do not fit.
    """
    return create(name, image_size, pretrained=True, drop_path=drop_path, state_dict=dict(state), custom_load=False)


def has_weights(name: str) -> bool:
    """Return whether timm publishes weights of a model."""
    check_name(name)
    facts = timm.get_pretrained_cfg(name)
    return bool(facts and facts.has_weights)


def input_size(name: str) -> int:
    """Return the side of the square images that a model's pretrained weights saw, in pixels."""
    check_name(name)
    facts = timm.get_pretrained_cfg(name)
    return int(facts.input_size[-1]) if facts else 224


def check_name(name: str) -> None:
    """Raise a ModelError when timm has no model of this name."""
    if not timm.is_model(name):
        known = timm.list_models()
        raise ModelError(
            f"model.backbone: timm {timm.__version__} has no model {name!r}{catalog.did_you_mean(name, known)}; "
            f"`thaw models --find '*{name[:4]}*'` lists the {len(known)} it has"
        )


@functools.cache
def _check_size(name: str, image_size: int) -> None:
    """Raise a ModelError when the model cannot take the size: tried without values, and once, for it takes as long as
    building a model."""
    try:
        with torch.device("meta"):
            body = timm.create_model(name, num_classes=0, **_sized(name, image_size)).eval()
        body(torch.empty(1, 3, image_size, image_size, device="meta"))
    except (AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"data.image.size: {name} cannot take {image_size} pixels ({reason}); its own size is {input_size(name)}"
        ) from None


def _check_drop_path(name: str, options: Mapping[str, Any]) -> None:
    """Raise a ModelError when the model has no blocks that can be passed over; timm refuses or passes over that."""
    try:
        with torch.device("meta"):
            body = _without_weights(name, options)
    except TypeError:  # the model knows no such option
        body = nn.Identity()
    if not any(isinstance(module, DropPath) and module.drop_prob for module in body.modules()):
        raise no_drop_path(name)


def _without_weights(name: str, options: Mapping[str, Any]) -> nn.Module:
    model: nn.Module = timm.create_model(name, **{k: v for k, v in options.items() if not k.startswith("pretrained")})
    return model


def names(pattern: str = "") -> list[str]:
    """Return timm's model names, those that match a shell ``pattern`` where one is given."""
    return list(timm.list_models(pattern))


def _map_places(body: nn.Module) -> dict[int, MapFacts]:
    """Return the places of a model's maps among timm's intermediate features: the last of every stride from 4 on."""
    if not hasattr(body, "forward_intermediates") or not hasattr(body, "feature_info"):
        return {}
    given: Any = body.feature_info
    told = getattr(given, "info", given)
    facts = {place: MapFacts(int(one["num_chs"]), int(one["reduction"])) for place, one in enumerate(told)}
    last = {one.stride: place for place, one in facts.items() if one.stride >= FINEST}
    return {place: facts[place] for place in sorted(last.values())}


def layer_groups(body: nn.Module) -> tuple[LayerGroup, ...]:
    """Return timm's coarse groups of a model's parameters, input side first.

    Raises:
        ModelError: the model does not say which weights form a group, or its last group holds weights
            that come before other groups.
    """
    kind = type(body).__name__
    try:
        found = group_parameters(body, body.group_matcher(coarse=True))  # type: ignore[operator]
    except (AttributeError, AssertionError):
        raise ModelError(f"model.backbone: {kind} does not say which weights form a layer group") from None
    members = [found[key] for key in sorted(found)]
    order = {name: place for place, (name, _) in enumerate(body.named_parameters())}
    if len(members) > 1 and min(order[name] for name in members[-1]) < max(order[name] for name in members[-2]):
        raise ModelError(f"model.backbone: {kind} leaves weights without a layer group, such as {members[-1][0]}")
    called = _apart([_group_name(names) for names in members])
    return tuple(LayerGroup(name, tuple(names)) for name, names in zip(called, members, strict=True))


def _apart(words: Sequence[str]) -> list[str]:
    """Return the words with a number behind those that come more than once."""
    return [
        f"{word}#{words[:place].count(word) + 1}" if words.count(word) > 1 else word for place, word in enumerate(words)
    ]


def _group_name(members: Iterable[str]) -> str:
    """Return the longest dotted beginning that the first member shares with most others."""
    parts = [name.split(".")[:-1] for name in members]
    first = parts[0]
    for length in range(min(len(first), 2), 0, -1):
        if sum(other[:length] == first[:length] for other in parts) * 2 > len(parts):
            return ".".join(first[:length])
    return first[0] if first else next(iter(members))


def _sized(name: str, image_size: int) -> dict[str, Any]:
    """Return timm's option for the input size, where a model is built for one, as plain vision transformers are."""
    facts = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return {"img_size": image_size} if facts and facts.fixed_input_size else {}
