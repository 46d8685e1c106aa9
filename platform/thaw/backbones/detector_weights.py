"""Weights of torchvision's detectors, such as those trained on COCO, for a model of ours that is built like them.

Names are translated and tensors copied where shapes agree. Reading files and choosing them is not done here, nor
anything that belongs to classes: those of COCO are not the user's.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

_BODY = "backbone.body."
_CLASSES = ("roi_heads.box_predictor.", "head.classification_head.cls_logits.", "roi_heads.mask", "roi_heads.keypoint")
"""What tells the classes of COCO apart, or serves heads that Thaw does not have."""
_ALIKE = "torchvision's have a pyramid of 256 channels, 4 convs in fcos, and a width of 1024 in faster_rcnn"
_OLD = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)
"""Names as older versions of torchvision wrote them, in which COCO weights are still published -> names of today."""
_BLOCK = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.(.*)")


@dataclass(frozen=True)
class Loaded:
    """What became of the tensors of a detector.

    Attributes:
        loaded: names in our model that took their values over.
        misfits: names in the detector whose place in our model has another shape.
        unused: names in the detector that have no place in our model.
    """

    loaded: tuple[str, ...]
    misfits: tuple[str, ...]
    unused: tuple[str, ...]

    def told(self) -> str:
        """Return on one line, for the user, what was taken over and what was not."""
        parts = Counter(".".join(name.split(".")[: 1 if name.startswith("pyramid.") else 2]) for name in self.loaded)
        taken = ["its backbone", *(f"{count} tensors of {part}" for part, count in parts.items())]
        left = [name for name in self.unused if not name.startswith(_CLASSES)]
        lines = ["weights of a detector; taken over: " + ", ".join(taken)]
        if self.misfits:
            lines += [f"{len(self.misfits)} tensors have another shape here, such as {self.misfits[0]} ({_ALIKE})"]
        if left:
            lines += [f"{len(left)} have no place here, such as {left[0]}"]
        return "; ".join(lines)


def is_detector(state: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors are those of one of torchvision's detectors on a feature pyramid."""
    return any(name.startswith("backbone.fpn.") for name in state)


def body(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the detector's backbone alone, by the names of a network of its own such as resnet50."""
    return {name.removeprefix(_BODY): tensor for name, tensor in state.items() if name.startswith(_BODY)}


def load_pretrained(model: nn.Module, state: Mapping[str, Tensor], head: str) -> Loaded:
    """Copy pyramid and head of a detector into a model, in place; its backbone is left to `body`.

    Args:
        model: with the parts ``pyramid`` and ``heads``.
        state: torchvision's names -> tensors, of ``fasterrcnn_resnet50_fpn`` or ``fcos_resnet50_fpn``.
        head: the task whose head they are for; the detector that it is told to be should be the same.
    """
    own = dict(model.named_parameters())
    today = {_renamed(name): tensor for name, tensor in state.items() if not name.startswith(_BODY)}
    lag = _lag(today, own)
    places = {name: _place(name, lag, head) for name in today}
    fits = {name: place in own and own[place].shape == today[name].shape for name, place in places.items()}
    for name, place in places.items():
        if fits[name]:
            own[place].data.copy_(today[name])
    return Loaded(
        loaded=tuple(place for name, place in places.items() if fits[name]),
        misfits=tuple(name for name, place in places.items() if place in own and not fits[name]),
        unused=tuple(name for name, place in places.items() if place not in own),
    )


def load_everywhere(model: nn.Module, state: Mapping[str, Tensor], heads: Iterable[str]) -> Loaded:
    """Copy pyramid and head of a detector to wherever they fit among several heads, each by `load_pretrained`."""
    each = [load_pretrained(model, state, head) for head in heads]
    return Loaded(
        loaded=tuple(dict.fromkeys(name for one in each for name in one.loaded)),
        misfits=tuple(dict.fromkeys(name for one in each for name in one.misfits)),
        unused=tuple(name for name in each[0].unused if all(name in one.unused for one in each)),
    )


def _renamed(name: str) -> str:
    for old, new in _OLD:
        name = old.sub(new, name) if old.fullmatch(name) else name
    return name


def _place(name: str, lag: int, head: str) -> str:
    """Return the name in our model, or an empty one where it must not be used."""
    if name.startswith(_CLASSES):
        return ""
    if block := _BLOCK.fullmatch(name):
        return f"pyramid.fpn.{block[1]}_blocks.{int(block[2]) + lag}.{block[3]}"
    return f"heads.{head}.{name}"


def _lag(theirs: Iterable[str], ours: Iterable[str]) -> int:
    """Return how many maps more our pyramid has than theirs: both end at the coarsest, whose maps are alike."""
    return _blocks(ours, "pyramid") - _blocks(theirs, "backbone")


def _blocks(names: Iterable[str], start: str) -> int:
    """Return how many maps the pyramid below ``start`` has."""
    before = f"{start}.fpn.inner_blocks."
    return len({name.removeprefix(before).split(".")[0] for name in names if name.startswith(before)})
