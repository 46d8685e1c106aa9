"""Fcos: a detector without anchors, where every place of every map tells class, box and how central it is.

Only the network and what is compared with the truth; which boxes are answered is the task's business.

Source: Tian et al. 2019, arXiv:1904.01355. Other than there a box belongs to the one map that its size asks for,
and always to the place nearest to its centre, so that no box is too small to be learnt.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from thaw.backbones.contract import Features
from thaw.tasks._anchors import USUAL, Anchors, centres
from thaw.tasks.contract import HeadInputs

RADIUS = 1.5
"""Places at most so many cells from a box's centre, along each side, learn the box."""
_PRIOR = 0.01
"""Probability of a class at every place before anything is learnt, so that background does not drown the rest."""


class Fcos(nn.Module):
    """Two light towers that all maps share; its weights are named as torchvision's."""

    def __init__(
        self, inputs: HeadInputs, strides: Sequence[float], anchors: Anchors, classes: int, width: int, convs: int
    ) -> None:
        """Build for the last ``len(strides)`` maps of the pyramid.

        Args:
            anchors: their sizes say which boxes each map looks for.
            width: channels of the towers.
            convs: layers of each tower.
        """
        super().__init__()
        self.strides = tuple(strides)
        self.sizes = anchors.sizes
        self.head = nn.ModuleDict(
            {
                "classification_head": _Tower(inputs.num_channels, width, convs, {"cls_logits": classes}),
                "regression_head": _Tower(inputs.num_channels, width, convs, {"bbox_reg": 4, "bbox_ctrness": 1}),
            }
        )
        self.dropout = nn.Dropout2d(inputs.dropout)
        nn.init.constant_(self.get_parameter("head.classification_head.cls_logits.bias"), -math.log(1 / _PRIOR - 1))
        nn.init.constant_(self.get_parameter("head.regression_head.bbox_reg.bias"), USUAL / 2)

    def forward(self, features: Features, _targets: Tensor | None = None) -> dict[str, Tensor]:
        """Return what every place tells, N places in all, in fp32.

        Returns:
            ``classes`` (B, N, C) logits, ``boxes`` (B, N, 4) in pixels of the input, ``centres`` (B, N) logits of
            being central, and ``places`` (B, N, 5): x, y, stride, and the smallest and largest box looked for.
        """
        maps = features.maps[-len(self.strides) :]
        places, units = (one.to(features.pooled.device) for one in self._places(maps, features.size))
        told = self.head["classification_head"]([self.dropout(one) for one in maps])
        found = self.head["regression_head"](maps)
        sides = F.softplus(found["bbox_reg"]) * units
        boxes = torch.cat([places[:, :2] - sides[..., :2], places[:, :2] + sides[..., 2:]], dim=2)
        return {
            "classes": told["cls_logits"],
            "boxes": boxes,
            "centres": found["bbox_ctrness"].squeeze(2),
            "places": places.expand(boxes.shape[0], -1, -1),
        }

    def _places(self, maps: Sequence[Tensor], size: int) -> tuple[Tensor, Tensor]:
        """Return (N, 5) places, and (N, 1) pixels in which the sides of their boxes are told."""
        limits = [0.0, *(math.sqrt(small * large) for small, large in pairwise(self.sizes)), math.inf]
        rows, units = [], []
        for one, stride, wanted, span in zip(maps, self.strides, self.sizes, pairwise(limits), strict=True):
            middles = centres(one.shape[-2:], stride, size, 0.5)
            rows.append(torch.cat([middles, torch.tensor([[stride, *span]]).expand(len(middles), -1)], dim=1))
            units.append(torch.full((len(middles), 1), wanted / USUAL))
        return torch.cat(rows), torch.cat(units)


class _Tower(nn.Module):
    """Some convolutions with GroupNorm, whose statistics do not depend on the batch, and what is read off them."""

    def __init__(self, given: int, width: int, convs: int, outputs: Mapping[str, int]) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for turn in range(convs):
            steps += [nn.Conv2d(width if turn else given, width, 3, padding=1)]
            steps += [nn.GroupNorm(_groups(width), width), nn.ReLU()]
        self.conv = nn.Sequential(*steps)
        self.names = tuple(outputs)
        for name, channels in outputs.items():
            self.add_module(name, nn.Conv2d(width, channels, 3, padding=1))
            nn.init.normal_(self.get_parameter(f"{name}.weight"), std=0.01)
            nn.init.zeros_(self.get_parameter(f"{name}.bias"))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return (B, N, channels) fp32 by name, over the places of all maps."""
        towers = [self.conv(one) for one in maps]
        return {
            name: torch.cat([self.get_submodule(name)(one).float().flatten(2).mT for one in towers], dim=1)
            for name in self.names
        }


def loss(outputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    """Return (B,) each image's focal, GIoU and centre losses by the number of its places that have a box.

    Args:
        targets: (B, M, 5) as `LabelSchema.targets` gives them.
    """
    positive, classes, boxes = assigned(outputs["places"], targets)
    hot = F.one_hot(classes, outputs["classes"].shape[2]) * positive.unsqueeze(2)
    focal = sigmoid_focal_loss(outputs["classes"], hot.float()).sum(dim=(1, 2))
    # Where nothing is to be found any two equal boxes will do: they keep the gradient finite, and zero.
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0], device=boxes.device)
    told, true = (torch.where(positive.unsqueeze(2), one, unit) for one in (outputs["boxes"], boxes))
    overlap = generalized_box_iou_loss(told, true) * positive
    central = centrality(outputs["places"], boxes)
    centre = F.binary_cross_entropy_with_logits(outputs["centres"], central, reduction="none") * positive
    each: Tensor = (focal + overlap.sum(dim=1) + centre.sum(dim=1)) / positive.sum(dim=1).clamp(min=1)
    return each


def _groups(width: int) -> int:
    """Return into how many groups GroupNorm divides channels: two in each at least, for a map may be of one place."""
    groups = math.gcd(32, width)
    return groups // 2 if groups == width else groups


def assigned(places: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of (B, N, 5) places have a box, and which class and box; of several boxes the smallest.

    Returns:
        (B, N) bool, (B, N) class indices, (B, N, 4) boxes; the last two mean nothing where there is none.
    """
    # Image by image, with the boxes it has: a table over all boxes of the fullest one would be many times as large.
    found = [_assigned(*image) for image in zip(places, targets, strict=True)]
    if not found:
        return places.new_zeros(places.shape[:2], dtype=torch.bool), places[..., 0].long(), places[..., :4]
    positive, truth = (torch.stack(parts) for parts in zip(*found, strict=True))
    return positive, truth[..., 4].long().clamp(min=0), truth[..., :4]


def _assigned(places: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of one image's (N, 5) places have a box, and (N, 5) the row of the targets that it is."""
    rows = targets[targets[:, 4] >= 0]
    if not len(rows):
        return places.new_zeros(len(places), dtype=torch.bool), places.new_zeros(len(places), 5)
    boxes = rows[:, :4]
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(dim=1)
    size = area.sqrt().unsqueeze(0)
    stride, least, most = places[:, 2:].unsqueeze(1).unbind(dim=2)
    apart = (places[:, None, :2] - (boxes[None, :, :2] + boxes[None, :, 2:]) / 2).abs()
    inside = (apart * 2 < sides.unsqueeze(0)).all(dim=2)
    off = apart.amax(dim=2)
    near = (inside & (off <= RADIUS * stride)) | (off <= stride / 2)
    fits = near & (least <= size) & (size < most)
    cost, chosen = torch.where(fits, area.unsqueeze(0), math.inf).min(dim=1)
    return cost < math.inf, rows[chosen]


def centrality(places: Tensor, boxes: Tensor) -> Tensor:
    """Return (B, N) how central places are in their (B, N, 4) boxes, in (0, 1].

    A distance below a quarter of a cell counts as that much, or small boxes would have no central place at all.
    """
    least = places[..., 2:3] / 4
    before = torch.maximum(places[..., :2] - boxes[..., :2], least)
    behind = torch.maximum(boxes[..., 2:] - places[..., :2], least)
    return (torch.minimum(before, behind) / torch.maximum(before, behind)).prod(dim=2).sqrt()


def candidates(outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (B, N, 1, 4) boxes and their (B, N, C) scores in [0, 1]."""
    scores = (outputs["classes"].sigmoid() * outputs["centres"].sigmoid().unsqueeze(2)).sqrt()
    return outputs["boxes"].unsqueeze(2), scores
