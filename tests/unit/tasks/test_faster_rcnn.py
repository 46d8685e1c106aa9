"""FasterRcnn is torchvision's, but for chance: a loss is the mean over every draw that torchvision could make."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, box_iou

from thaw.backbones.contract import Features
from thaw.data.labels import NO_BOX, NO_LABEL
from thaw.tasks import _faster_rcnn
from thaw.tasks._anchors import Anchors
from thaw.tasks._faster_rcnn import FasterRcnn
from thaw.tasks.contract import HeadInputs

STRIDES = (4.0, 8.0, 16.0, 32.0)
ANCHORS = Anchors(sizes=(12.0, 24.0, 48.0, 96.0))
SEEDS = range(6)


def _head(strides: tuple[float, ...] = STRIDES, dropout: float = 0.0) -> FasterRcnn:
    torch.manual_seed(0)
    head = FasterRcnn(HeadInputs(4, dropout, 8, strides), strides, ANCHORS, classes=3, width=16, proposals=40)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return head


def _features(size: int = 64, images: int = 2, seed: int = 0, strides: tuple[float, ...] = STRIDES) -> Features:
    random = torch.Generator().manual_seed(seed)
    counts = [math.ceil(size / stride) for stride in strides]
    maps = tuple(torch.randn(images, 8, count, count, generator=random) for count in counts)
    return Features(torch.randn(images, 4, generator=random), size, maps)


def _targets(images: int, seed: int, size: int = 64) -> Tensor:
    """Return three true boxes an image, none in the last one."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, 4, 2, generator=random) * size * 0.6
    sides = 5 + torch.rand(images, 4, 2, generator=random) * size * 0.5
    kinds = torch.randint(0, 3, (images, 4, 1), generator=random).float()
    rows = torch.cat([corner, (corner + sides).clamp(max=size), kinds], dim=2)
    rows[:, 3] = torch.tensor([0, 0, 0, 0, NO_BOX])
    if images > 1:
        rows[-1, :, 4] = NO_BOX
    return rows


@pytest.mark.parametrize("size", [64, 70, 61])
@pytest.mark.parametrize("seed", SEEDS)
def test_proposals_are_those_of_torchvision(seed: int, size: int) -> None:
    head, features = _head().eval(), _features(size, seed=seed)
    outputs = head(features)
    theirs = RegionProposalNetwork(
        AnchorGenerator(tuple((int(one),) for one in ANCHORS.sizes), (ANCHORS.ratios,) * 4),
        head.rpn["head"], 0.7, 0.3, 256, 0.5, {"testing": 1000}, {"testing": 40}, 0.7
    ).eval()  # fmt: skip
    theirs.anchor_generator.forward = lambda images, _maps: list(outputs["anchors"])
    images = ImageList(torch.zeros(2, 3, size, size), [(size, size)] * 2)
    proposals, _ = theirs(images, {str(place): one for place, one in enumerate(features.maps)})
    for row, wanted in enumerate(proposals):
        real = outputs["real"][row] > 0
        assert torch.allclose(outputs["proposals"][row][real], wanted, atol=1e-4)
        assert not outputs["proposals"][row][~real].any()


def test_anchors_are_those_of_torchvision_but_not_rounded() -> None:
    features = _features(64)
    generator = AnchorGenerator(tuple((int(one),) for one in ANCHORS.sizes), (ANCHORS.ratios,) * 4)
    [wanted] = generator(ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)]), list(features.maps))
    anchors = _head()(features)["anchors"][0]
    assert anchors.shape == wanted.shape
    assert float((anchors - wanted).abs().max()) <= 0.5


def test_anchors_have_their_size_and_shape() -> None:
    anchors = _head()(_features(64))["anchors"][0]
    sides = anchors[:, 2:] - anchors[:, :2]
    assert sides[:3].prod(dim=1).sqrt().tolist() == pytest.approx([12.0] * 3, rel=1e-5)
    assert (sides[:3, 1] / sides[:3, 0]).tolist() == pytest.approx([0.5, 1.0, 2.0], rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_cut_out_is_what_torchvision_cuts_out(seed: int) -> None:
    maps = _features(256, seed=seed).maps
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, 30, 2, generator=random) * 100
    boxes = torch.cat([corner, corner + torch.rand(2, 30, 2, generator=random) ** 3 * 150 + 0.1], dim=2)
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    wanted = theirs({str(place): one for place, one in enumerate(maps)}, list(boxes), [(256, 256)] * 2)
    assert torch.allclose(_faster_rcnn.cut_out(maps, STRIDES, boxes, 256), wanted, atol=1e-5)


def test_patches_of_fourteen_pixels_are_cut_out_where_they_are() -> None:
    steps = torch.arange(64.0) * 3.5
    ramp = steps.view(1, 1, 1, -1).expand(1, 1, 64, -1)
    maps = [ramp, ramp[..., ::2, ::2], ramp[..., ::4, ::4], ramp[..., ::8, ::8]]
    cut = _faster_rcnn.cut_out(maps, (3.5, 7.0, 14.0, 28.0), torch.tensor([[[70.0, 70, 105, 105]]]), 224)
    assert cut[0, 0, 0].tolist() == pytest.approx([72.5, 77.5, 82.5, 87.5, 92.5, 97.5, 102.5], abs=1e-3)


@pytest.mark.parametrize("rescue", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_are_matched_as_torchvision_matches_them(seed: int, rescue: bool) -> None:
    targets, boxes = _targets(2, seed), _head()(_features(seed=seed))["anchors"]
    positive, negative, truth = _faster_rcnn.matched(boxes, targets, 0.7, 0.3, rescue=rescue)
    found = Matcher(0.7, 0.3, allow_low_quality_matches=rescue)(box_iou(targets[0, :3, :4], boxes[0]))
    assert torch.equal(positive[0], found >= 0)
    assert torch.equal(negative[0], found == -1)
    assert torch.equal(truth[0][positive[0]], targets[0][found[found >= 0]])
    assert not positive[1].any()
    assert negative[1].all()


@pytest.mark.parametrize(("positives", "negatives"), [(0, 0), (0, 5), (3, 0), (3, 40), (30, 5), (30, 60)])
def test_weights_are_the_chance_to_be_drawn(positives: int, negatives: int) -> None:
    labels = torch.cat([torch.ones(positives), torch.zeros(negatives), -torch.ones(4)])
    weights = _faster_rcnn.expected((labels == 1).unsqueeze(0), (labels == 0).unsqueeze(0), 20, 0.25)[0]
    draw, mean = BalancedPositiveNegativeSampler(20, 0.25), torch.zeros(len(labels))
    torch.manual_seed(0)
    for _ in range(2000):
        [some], [others] = draw([labels])
        chosen = (some + others).float()
        mean += chosen / chosen.sum().clamp(min=1) / 2000
    assert torch.allclose(weights, mean, atol=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_of_boxes_is_torchvisions_where_nothing_is_drawn(seed: int) -> None:
    targets = _targets(1, seed)
    outputs = {name: value.detach() for name, value in _head()(_features(images=1, seed=seed), targets).items()}
    real = outputs["real"][0] > 0
    proposals = outputs["proposals"][0][real]
    found = Matcher(0.5, 0.5, allow_low_quality_matches=False)(box_iou(targets[0, :3, :4], proposals))
    labels = torch.where(found >= 0, targets[0, found.clamp(min=0), 4].long() + 1, 0)
    wanted = _faster_rcnn._BOX_CODER.encode_single(targets[0, found.clamp(min=0), :4], proposals)
    corrections = outputs["corrections"][0][real].flatten(1)
    theirs = sum(fastrcnn_loss(outputs["classes"][0][real], corrections, [labels], [wanted]))
    assert float(_faster_rcnn._box_loss(outputs, targets)) == pytest.approx(float(theirs), rel=1e-4)


def test_the_loss_of_proposals_is_torchvisions_in_expectation() -> None:
    head, features, targets = _head(), _features(images=1, seed=3), _targets(1, 3)
    outputs = {name: value.detach() for name, value in head(features, targets).items()}
    network = RegionProposalNetwork(
        AnchorGenerator(), head.rpn["head"], 0.7, 0.3, 40, 0.5, {"training": 1}, {"training": 1}, 0.7
    )
    truth = [{"boxes": targets[0, :3, :4]}]
    labels, boxes = network.assign_targets_to_anchors(list(outputs["anchors"]), truth)
    wanted = network.box_coder.encode(boxes, list(outputs["anchors"]))
    torch.manual_seed(0)
    theirs = torch.tensor([
        sum(network.compute_loss(outputs["objectness"][0][:, None], outputs["shifts"][0], labels, list(wanted)))
        for _ in range(3000)
    ])  # fmt: skip
    positive, negative, rows = _faster_rcnn.matched(outputs["anchors"], targets, 0.7, 0.3, rescue=True)
    weights = _faster_rcnn.expected(positive, negative, 40, 0.5)
    costs = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs["objectness"], positive.float(), reduction="none"
    )
    moves = _faster_rcnn._shift_costs(
        _faster_rcnn._PROPOSAL_CODER, outputs["shifts"], outputs["anchors"], rows, positive
    )
    spread = float(theirs.std() / math.sqrt(len(theirs)))
    assert float(((costs + moves) * weights).sum()) == pytest.approx(float(theirs.mean()), abs=5 * spread + 1e-5)


def test_nothing_is_drawn_at_random() -> None:
    head, features, targets = _head(), _features(), _targets(2, 0)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(_faster_rcnn.loss(head(features, targets), targets))
    assert torch.equal(*found)


def test_true_boxes_are_proposed_in_training_alone() -> None:
    head, features, targets = _head(), _features(), _targets(2, 0)
    given, alone = head(features, targets), head(features, None)
    assert torch.equal(given["proposals"][:, 40:], targets[..., :4])
    assert given["real"][:, 40:].tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
    assert alone["proposals"].shape == (2, 40, 4)


def test_an_image_has_the_same_loss_alone_and_among_others() -> None:
    head, features, targets = _head(), _features(images=3), _targets(3, 2)
    together = _faster_rcnn.loss(head(features, targets), targets)
    for row in range(3):
        one = Features(features.pooled[row : row + 1], 64, tuple(maps[row : row + 1] for maps in features.maps))
        own = targets[row : row + 1]
        assert float(_faster_rcnn.loss(head(one, own), own).detach()) == pytest.approx(
            float(together[row].detach()), rel=1e-4
        )


@pytest.mark.parametrize("mark", [NO_BOX, NO_LABEL])
def test_every_weight_has_a_finite_gradient_even_without_a_true_box(mark: int) -> None:
    head, targets = _head(), _targets(2, 1)
    targets[..., 4] = mark
    _faster_rcnn.loss(head(_features(), targets), targets).sum().backward()
    for weight in head.parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all()


def test_rows_that_fill_up_are_never_answered() -> None:
    head = _head().eval()
    outputs = head(_features())
    outputs["real"] = torch.zeros_like(outputs["real"])
    _, scores = _faster_rcnn.candidates(outputs)
    assert not scores.any()


def test_bf16_changes_no_type() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = _head()(_features(), _targets(2, 0))
    assert all(value.dtype == torch.float32 for value in outputs.values())
    assert _faster_rcnn.loss(outputs, _targets(2, 0)).isfinite().all()
