"""Fcos learns each box at the places that see it, and every image's loss is its own."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from thaw.backbones.contract import Features
from thaw.data.labels import NO_BOX, NO_LABEL
from thaw.tasks import _fcos
from thaw.tasks._anchors import Anchors, usual
from thaw.tasks._fcos import Fcos
from thaw.tasks.contract import HeadInputs

STRIDES = (8.0, 16.0, 32.0)
SEEDS = range(6)


def _head(anchors: Anchors | None = None, dropout: float = 0.0, strides: tuple[float, ...] = STRIDES) -> Fcos:
    torch.manual_seed(0)
    inputs = HeadInputs(4, dropout, 8, strides)
    return Fcos(inputs, strides, anchors or usual(strides), classes=3, width=16, convs=2)


def _features(size: int = 96, images: int = 2, seed: int = 0, sides: tuple[int, ...] | None = None) -> Features:
    random = torch.Generator().manual_seed(seed)
    counts = sides or tuple(math.ceil(size / stride) for stride in STRIDES)
    maps = tuple(torch.randn(images, 8, count, count, generator=random) for count in counts)
    return Features(torch.randn(images, 4, generator=random), size, maps)


def _targets(*images: list[tuple[float, ...]]) -> Tensor:
    most = max(1, *(len(rows) for rows in images))
    rows = torch.zeros(len(images), most, 5)
    rows[..., 4] = NO_BOX
    for row, given in zip(rows, images, strict=True):
        for at, box in enumerate(given):
            row[at] = torch.tensor(box)
    return rows


def _random_targets(images: int, seed: int, size: int = 96) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, 5, 2, generator=random) * size * 0.7
    sides = 3 + torch.rand(images, 5, 2, generator=random) ** 2 * size * 0.6
    kinds = torch.randint(0, 3, (images, 5, 1), generator=random).float()
    rows = torch.cat([corner, (corner + sides).clamp(max=size), kinds], dim=2)
    rows[:, 4, 4] = NO_BOX
    return rows


@pytest.mark.parametrize("size", [96, 100, 61])
def test_every_place_tells_class_box_and_centre_in_fp32(size: int) -> None:
    outputs = _head()(_features(size))
    places = sum(math.ceil(size / stride) ** 2 for stride in STRIDES)
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {
        "classes": (2, places, 3),
        "boxes": (2, places, 4),
        "centres": (2, places),
        "places": (2, places, 5),
    }
    assert all(value.dtype == torch.float32 for value in outputs.values())


def test_places_lie_in_the_middle_of_their_cells_row_by_row() -> None:
    places = _head()(_features(64))["places"][0]
    assert places[:2, :3].tolist() == [[4, 4, 8], [12, 4, 8]]
    assert places[8, :3].tolist() == [4, 12, 8]
    assert places[64, :3].tolist() == [8, 8, 16]
    assert places[-1, :3].tolist() == [48, 48, 32]


def test_maps_that_do_not_reach_the_edges_lie_in_the_middle_of_the_input() -> None:
    places = _head()(_features(299, sides=(35, 17, 8)))["places"][0]
    assert places[0, :2].tolist() == [13.5, 13.5]
    assert places[34, 0] + places[0, 0] == 299


def test_finer_maps_of_the_pyramid_are_left_to_others() -> None:
    finer = Features(torch.zeros(2, 4), 64, (torch.full((2, 8, 16, 16), math.nan), *_features(64).maps))
    outputs = _head()(finer)
    assert outputs["classes"].isfinite().all()


def test_every_box_belongs_to_the_map_that_its_size_asks_for() -> None:
    anchors = Anchors(sizes=(10.0, 40.0, 80.0))
    places = _head(anchors)(_features(96, images=1))["places"]
    for side, stride in ((6, 8), (19, 8), (21, 16), (56, 16), (57, 32), (90, 32)):
        positive, _, _ = _fcos.assigned(places, _targets([(2, 2, 2 + side, 2 + side, 1)]))
        assert set(places[positive][:, 2].tolist()) == {stride}


@pytest.mark.parametrize("seed", range(20))
def test_no_box_is_too_small_to_be_learnt(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, generator=random) * 90
    box = torch.cat([corner, corner + 1 + 4 * torch.rand(2, generator=random)]).tolist()
    places = _head()(_features(96, images=1))["places"]
    positive, kinds, boxes = _fcos.assigned(places, _targets([(*box, 2)]))
    assert int(positive.sum()) >= 1
    assert set(kinds[positive].tolist()) == {2}
    assert torch.allclose(boxes[positive][0], torch.tensor(box))
    central = _fcos.centrality(places, boxes)[positive]
    assert ((central > 0.05) & (central <= 1)).all()


def test_places_near_the_centre_alone_learn_a_box_and_only_inside_it() -> None:
    places = _head()(_features(96, images=1))["places"]
    positive, _, _ = _fcos.assigned(places, _targets([(0, 20, 90, 44, 0)]))
    found = places[positive]
    assert len(found) > 1
    off = (found[:, :2] - torch.tensor([45.0, 32.0])).abs()
    assert (off.amax(dim=1) <= 1.5 * found[:, 2]).all()
    assert ((found[:, 1] > 20) & (found[:, 1] < 44)).all()


def test_where_boxes_overlap_the_smallest_is_learnt() -> None:
    places = _head(Anchors(sizes=(30.0, 100.0, 200.0)))(_features(96, images=1))["places"]
    positive, kinds, _ = _fcos.assigned(places, _targets([(20, 20, 60, 60, 0), (28, 28, 52, 52, 1)]))
    inner = positive & ((places[..., :2] - 40).abs().amax(dim=2) < 12)
    assert set(kinds[inner].tolist()) == {1}


def test_centrality_is_the_formula_of_the_paper() -> None:
    places = torch.tensor([[[30.0, 40.0, 8.0, 0.0, 0.0]]])
    box = torch.tensor([[[20.0, 10.0, 60.0, 60.0]]])
    assert float(_fcos.centrality(places, box)) == pytest.approx(math.sqrt(10 / 30 * 20 / 30))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_is_what_plain_arithmetic_says(seed: int) -> None:
    outputs = {name: value.detach() for name, value in _head()(_features(64, images=1, seed=seed)).items()}
    targets = _random_targets(1, seed, 64)
    positive, kinds, boxes = (one[0] for one in _fcos.assigned(outputs["places"], targets))
    total = 0.0
    for at in range(len(positive)):
        for kind in range(3):
            chance = float(outputs["classes"][0, at, kind].double().sigmoid())
            hit = bool(positive[at]) and int(kinds[at]) == kind
            right, share = (chance, 0.25) if hit else (1 - chance, 0.75)
            total += -share * (1 - right) ** 2 * math.log(right)
        if positive[at]:
            total += 1 - _giou(outputs["boxes"][0, at].tolist(), boxes[at].tolist())
            central = float(_fcos.centrality(outputs["places"], boxes.unsqueeze(0))[0, at])
            chance = float(outputs["centres"][0, at].double().sigmoid())
            total += -central * math.log(chance) - (1 - central) * math.log(1 - chance)
    assert float(_fcos.loss(outputs, targets)) == pytest.approx(total / max(1, int(positive.sum())), rel=1e-4)


def _giou(one: list[float], other: list[float]) -> float:
    spans = [(max(one[at], other[at]), min(one[at + 2], other[at + 2])) for at in (0, 1)]
    hulls = [max(one[at + 2], other[at + 2]) - min(one[at], other[at]) for at in (0, 1)]
    both = math.prod(max(0.0, end - begin) for begin, end in spans)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both
    return both / union - (math.prod(hulls) - union) / math.prod(hulls)


def test_an_image_without_boxes_teaches_background() -> None:
    head = _head()
    outputs = head(_features(64))
    _fcos.loss(outputs, _targets([], [])).sum().backward()
    bias = head.get_parameter("head.classification_head.cls_logits.bias").grad
    assert bias is not None
    assert (bias > 0).all()


@pytest.mark.parametrize("labelled", [0, 1, 2])
def test_every_weight_has_a_finite_gradient_whatever_is_labelled(labelled: int) -> None:
    head, targets = _head(), _random_targets(2, 1)
    targets[labelled:, :, 4] = NO_LABEL
    outputs = head(_features())
    (_fcos.loss(outputs, targets)[:labelled].sum() + 0 * _fcos.loss(outputs, targets).sum()).backward()
    for weight in head.parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all()


def test_a_score_is_that_of_the_class_and_of_the_centre_together() -> None:
    outputs: dict[str, Any] = {
        "classes": torch.tensor([[[0.0, 2.0]]]),
        "centres": torch.tensor([[1.0]]),
        "boxes": torch.tensor([[[1.0, 2, 3, 4]]]),
    }
    boxes, scores = _fcos.candidates(outputs)
    chances = [1 / (1 + math.exp(-one)) for one in (0.0, 2.0, 1.0)]
    assert scores[0, 0].tolist() == pytest.approx([math.sqrt(one * chances[2]) for one in chances[:2]])
    assert boxes.tolist() == [[[[1, 2, 3, 4]]]]


def test_bf16_changes_no_type() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = _head()(_features())
    assert all(value.dtype == torch.float32 for value in outputs.values())
    assert _fcos.loss(outputs, _random_targets(2, 0)).isfinite().all()
