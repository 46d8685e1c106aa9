"""FasterRcnn: a detector that first proposes boxes and then looks at each proposal closely.

Its parts and their names are torchvision's, so that weights trained on COCO fit. Other than there nothing is drawn
at random: a loss over sampled boxes is replaced by its expectation, which does not depend on the workers.

Source: Ren et al. 2015, arXiv:1506.01497, on a pyramid as in Lin et al. 2017, arXiv:1612.03144.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms, box_iou, roi_align

from thaw.backbones.contract import Features
from thaw.tasks._anchors import Anchors, centres, margin
from thaw.tasks.contract import HeadInputs

_SIDE = 7
"""Places along each side of what is cut out of a map for a proposal."""
_BEFORE = 1000
"""Proposals of each map that come before non-maximum suppression."""
OVERLAP = 0.7
"""Overlap at which the weaker of two proposals is dropped."""
LEAST = 1e-3
"""Sides up to which a proposal is none, in pixels."""
_SMOOTH = 1 / 9
"""Error below which the loss of a box is quadratic."""
_PROPOSAL_CODER, _BOX_CODER = BoxCoder((1.0, 1.0, 1.0, 1.0)), BoxCoder((10.0, 10.0, 5.0, 5.0))


class FasterRcnn(nn.Module):
    """A proposal network over all maps, and a head on what is cut out for each proposal."""

    def __init__(
        self, inputs: HeadInputs, strides: Sequence[float], anchors: Anchors, classes: int, width: int, proposals: int
    ) -> None:
        """Build for the last ``len(strides)`` maps of the pyramid.

        Args:
            width: length of the vector of each proposal.
            proposals: how many are looked at in each image.
        """
        super().__init__()
        self.strides, self.anchors, self.proposals = tuple(strides), anchors, proposals
        self.rpn = nn.ModuleDict({"head": RPNHead(inputs.num_channels, len(anchors.ratios))})
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": TwoMLPHead(inputs.num_channels * _SIDE**2, width),
                "box_predictor": FastRCNNPredictor(width, classes + 1),
            }
        )
        self.dropout = nn.Dropout(inputs.dropout)

    def forward(self, features: Features, targets: Tensor | None = None) -> dict[str, Tensor]:
        """Return proposals and what is said of them, in fp32.

        In training the true boxes are among the proposals, so that there is something to learn from the start.

        Returns:
            ``anchors`` (B, A, 4), ``objectness`` (B, A) logits and ``shifts`` (B, A, 4) of the proposal network;
            ``proposals`` (B, P, 4) in pixels of the input, ``real`` (B, P) zero where a row only fills up,
            ``classes`` (B, P, 1 + C) logits, background first, and ``corrections`` (B, P, 1 + C, 4).
        """
        maps = features.maps[-len(self.strides) :]
        logits, moves = self.rpn["head"](list(maps))
        objectness = torch.cat([_by_place(one, 1) for one in logits], dim=1).squeeze(2)
        shifts = torch.cat([_by_place(one, 4) for one in moves], dim=1)
        grids = [one.to(objectness.device) for one in self._anchors(maps, features.size)]
        anchors = torch.cat(grids).expand(objectness.shape[0], -1, -1)
        counts = [len(one) for one in grids]
        proposals, real = self._proposed(anchors, objectness.detach(), shifts.detach(), counts, features.size)
        if targets is not None:
            proposals = torch.cat([proposals, targets[..., :4]], dim=1)
            real = torch.cat([real, (targets[..., 4] >= 0).float()], dim=1)
        vectors = self.roi_heads["box_head"](cut_out(maps, self.strides, proposals, features.size))
        classes, corrections = self.roi_heads["box_predictor"](self.dropout(vectors))
        rows = (*proposals.shape[:2], -1)
        return {
            "anchors": anchors,
            "objectness": objectness,
            "shifts": shifts,
            "proposals": proposals,
            "real": real,
            "classes": classes.float().view(rows),
            "corrections": corrections.float().view(*rows, 4),
        }

    def _anchors(self, maps: Sequence[Tensor], size: int) -> list[Tensor]:
        """Return (H_i * W_i * ratios, 4) anchors of each map, around the corners of its cells as torchvision's."""
        ratios = torch.tensor(self.anchors.ratios).sqrt()
        found = []
        for one, stride, side in zip(maps, self.strides, self.anchors.sizes, strict=True):
            half = torch.stack([side / ratios, side * ratios], dim=1) / 2
            middles = centres(one.shape[-2:], stride, size, 0.0).unsqueeze(1)
            found.append(torch.cat([middles - half, middles + half], dim=2).view(-1, 4))
        return found

    def _proposed(
        self, anchors: Tensor, objectness: Tensor, shifts: Tensor, counts: Sequence[int], size: int
    ) -> tuple[Tensor, Tensor]:
        """Return (B, P, 4) proposals and (B, P) ones, both filled up with zeros."""
        chosen, begin = [], 0
        for count in counts:
            chosen.append(objectness[:, begin : begin + count].topk(min(count, _BEFORE), dim=1).indices + begin)
            begin += count
        rows = torch.cat(chosen, dim=1)
        wide = rows.unsqueeze(2).expand(-1, -1, 4)
        boxes = _moved(_PROPOSAL_CODER, shifts.gather(1, wide), anchors.gather(1, wide)).clamp(0, size)
        lengths = [one.shape[1] for one in chosen]
        found: tuple[Tensor, Tensor] = proposed(boxes, objectness.gather(1, rows), lengths, self.proposals)
        return found


@torch.library.custom_op("thaw::proposed", mutates_args=())
def proposed(boxes: Tensor, scores: Tensor, lengths: Sequence[int], most: int) -> tuple[Tensor, Tensor]:
    """Return the best (B, most, 4) of (B, N, 4) boxes that do not overlap too much on their map, and (B, most) ones.

    Both are filled up with zeros. An operation of its own, because how many are left of an image depends on its pixels:
    a network could not be exported with it, while every format has a like operation.

    Args:
        lengths: how many of the N are of each map, one map after another.
    """
    levels = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).to(boxes.device)
    kept = [_apart(*image, levels, most) for image in zip(boxes, scores, strict=True)]
    return torch.stack([one for one, _ in kept]), torch.stack([one for _, one in kept])


@proposed.register_fake
def _(boxes: Tensor, scores: Tensor, _lengths: Sequence[int], most: int) -> tuple[Tensor, Tensor]:
    return boxes.new_empty(boxes.shape[0], most, 4), scores.new_empty(boxes.shape[0], most)


def _by_place(outputs: Tensor, length: int) -> Tensor:
    """Return (B, H * W * A, length) fp32 of (B, A * length, H, W) outputs, in the order of the anchors."""
    images, _, height, width = outputs.shape
    rows = outputs.float().reshape(images, -1, length, height, width)
    return rows.permute(0, 3, 4, 1, 2).reshape(images, -1, length)


def _moved(coder: BoxCoder, moves: Tensor, boxes: Tensor) -> Tensor:
    """Return (..., 4 * K) boxes that (..., 4 * K) moves make of (..., 4) ones."""
    found: Tensor = coder.decode_single(moves.flatten(0, -2), boxes.flatten(0, -2))
    return found.view(moves.shape)


def _apart(boxes: Tensor, scores: Tensor, levels: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the best (most, 4) boxes of one image that do not overlap too much, and ones, filled up with zeros."""
    some = ((boxes[:, 2:] - boxes[:, :2]) > LEAST).all(dim=1).nonzero().squeeze(1)
    kept = some[batched_nms(boxes[some], scores[some], levels[some], OVERLAP)[:most]]
    lacking = most - len(kept)
    return F.pad(boxes[kept], (0, 0, 0, lacking)), F.pad(torch.ones_like(scores[kept]), (0, lacking))


def cut_out(maps: Sequence[Tensor], strides: Sequence[float], boxes: Tensor, size: int) -> Tensor:
    """Return (B * P, C, 7, 7) of what lies in (B, P, 4) boxes, each out of the map that its size asks for.

    torchvision's own pooling would round strides to powers of two, which those of a patch of 14 pixels are not.
    """
    flat = boxes.flatten(0, 1)
    images = torch.arange(boxes.shape[0], device=boxes.device).repeat_interleave(boxes.shape[1]).unsqueeze(1)
    sides = (flat[:, 2:] - flat[:, :2]).clamp(min=0)
    level = torch.floor((sides.prod(dim=1).sqrt() * 16 / (224 * strides[0])).log2() + 1e-6)
    level = level.clamp(0, len(strides) - 1)
    found = torch.zeros(flat.shape[0], maps[0].shape[1], _SIDE, _SIDE, device=flat.device)
    for place, (one, stride) in enumerate(zip(maps, strides, strict=True)):
        chosen = (level == place).nonzero().squeeze(1)
        inner = flat[chosen] - margin(one.shape[-1], stride, size)
        cut = roi_align(one.float(), torch.cat([images[chosen], inner], dim=1), _SIDE, 1 / stride, 2)
        found = found.index_copy(0, chosen, cut)
    return found


def loss(outputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    """Return (B,) each image's losses of its proposals and of what is said of them.

    Args:
        targets: (B, M, 5) as `LabelSchema.targets` gives them.
    """
    return _proposal_loss(outputs, targets) + _box_loss(outputs, targets)


def _proposal_loss(outputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    anchors, objectness = outputs["anchors"], outputs["objectness"]
    positive, negative, truth = matched(anchors, targets, 0.7, 0.3, rescue=True)
    weights = expected(positive, negative, 256, 0.5)
    costs = F.binary_cross_entropy_with_logits(objectness, positive.float(), reduction="none")
    return ((costs + _shift_costs(_PROPOSAL_CODER, outputs["shifts"], anchors, truth, positive)) * weights).sum(dim=1)


def _box_loss(outputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    proposals, real = outputs["proposals"], outputs["real"] > 0
    positive, negative, truth = matched(proposals, targets, 0.5, 0.5, rescue=False)
    positive, negative = positive & real, negative & real
    weights = expected(positive, negative, 512, 0.25)
    labels = torch.where(positive, truth[..., 4].long() + 1, 0)
    costs = F.cross_entropy(outputs["classes"].mT, labels, reduction="none")
    own = outputs["corrections"].gather(2, labels[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
    return ((costs + _shift_costs(_BOX_CODER, own, proposals, truth, positive)) * weights).sum(dim=1)


def _shift_costs(coder: BoxCoder, shifts: Tensor, boxes: Tensor, truth: Tensor, positive: Tensor) -> Tensor:
    """Return (B, A) how far (B, A, 4) shifts of boxes are from the true ones, zero where there is none."""
    # Where nothing is to be found any box of some size will do: it keeps logarithms finite.
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0], device=boxes.device)
    given, true = (torch.where(positive.unsqueeze(2), one, unit) for one in (boxes, truth[..., :4]))
    wanted = coder.encode_single(true.flatten(0, 1), given.flatten(0, 1)).view(shifts.shape)
    return F.smooth_l1_loss(shifts, wanted, beta=_SMOOTH, reduction="none").sum(dim=2) * positive


@torch.no_grad()
def matched(boxes: Tensor, targets: Tensor, high: float, low: float, *, rescue: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of (B, A, 4) boxes show a true box, and which background; those between are neither.

    Args:
        high: overlap with a true box from which a box shows it.
        low: overlap with every true box below which a box is background.
        rescue: let the boxes that overlap a true one most show something, however little that is.

    Returns:
        (B, A) bool, (B, A) bool, and (B, A, 5) the row of the targets that overlaps each box most.
    """
    overlap = boxes.new_empty(len(boxes), targets.shape[1], boxes.shape[1])
    for own, rows, one in zip(overlap, targets, boxes, strict=True):
        own[:] = box_iou(rows[:, :4], one)
    overlap = torch.where((targets[..., 4] >= 0).unsqueeze(2), overlap, -1.0)
    best, row = overlap.max(dim=1)
    positive, negative = best >= high, best < low
    if rescue:
        top = overlap.amax(dim=2, keepdim=True)
        positive = positive | ((overlap == top) & (top > 0)).any(dim=1)
    truth = targets.gather(1, row.unsqueeze(2).expand(-1, -1, 5))
    return positive, negative & ~positive, truth


def expected(positive: Tensor, negative: Tensor, drawn: int, share: float) -> Tensor:
    """Return (B, A) how often each box would be drawn, divided by how many are drawn of its image.

    Of each image so many boxes would be drawn, at most a share of them positive. The sum of losses with these
    weights is the mean loss of the drawn ones, in expectation.
    """
    positives, negatives = positive.sum(dim=1), negative.sum(dim=1)
    some = positives.clamp(max=int(drawn * share))
    others = torch.minimum(negatives, drawn - some)
    chance = torch.stack([some / positives.clamp(min=1), others / negatives.clamp(min=1)])
    weights = positive * chance[0].unsqueeze(1) + negative * chance[1].unsqueeze(1)
    return weights / (some + others).clamp(min=1).unsqueeze(1)


def candidates(outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (B, P, C, 4) boxes and their (B, P, C) scores in [0, 1]."""
    scores = outputs["classes"].softmax(dim=2)[..., 1:] * outputs["real"].unsqueeze(2)
    boxes = _moved(_BOX_CODER, outputs["corrections"].flatten(2), outputs["proposals"])
    return boxes.view_as(outputs["corrections"])[:, :, 1:], scores
