"""Pruned networks are smaller, answer, keep their heads, and learn again; zeros stay zero."""

from collections.abc import Iterator

import pytest
import torch

from stored import LABELS, SIZE, Stored
from thaw import bundle
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.data.labels import LabelSchema
from thaw.errors import ModelError
from thaw.export import prune, recover

SCHEMAS = {
    **LABELS,
    "one": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "two": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "paint": LabelSchema(kind="mask", names=("board", "copper")),
}


def _of_all_heads(backbone: str) -> Bundle:
    values = {
        "name": "all",
        "data": {"source": {"type": "boards"}, "image": {"size": 64}},
        "tasks": {
            "colour": {"type": "classification"},
            "tags": {"type": "multilabel"},
            "one": {"type": "detection", "convs": 1},
            "two": {"type": "detection", "detector": "faster_rcnn", "proposals": 8, "width": 16},
            "paint": {"type": "segmentation", "channels": 8},
        },
        "model": {"backbone": backbone, "weights": {"source": "none"}, "pyramid": 16},
    }
    made = bundle.create(config.parse(values, "test"), SCHEMAS)
    made.model.eval()
    return made


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])
def test_channels_go_from_the_backbone_alone_and_every_head_still_answers(backbone: str) -> None:
    made = _of_all_heads(backbone)
    before = {name: tuple(one.shape) for name, one in made.model.named_parameters()}
    pruned = prune.without_channels(made, 0.5)
    after = {name: tuple(one.shape) for name, one in pruned.model.named_parameters()}
    assert {name: tuple(one.shape) for name, one in made.model.named_parameters()} == before, "the parent is as it was"
    weights = [
        sum(torch.Size(shape).numel() for name, shape in one.items() if "backbone" in name) for one in (before, after)
    ]
    assert weights[1] < 0.6 * weights[0]
    for name, shape in after.items():
        if not name.startswith("backbone."):
            assert shape[0] == before[name][0], name
    readouts = pruned.readouts(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))
    assert all(len(one) == 3 and bool(torch.isfinite(one).all()) for task in readouts.values() for one in task.values())


def test_a_network_that_cannot_be_pruned_is_refused() -> None:
    with pytest.raises(
        ModelError, match="--prune: test_vit cannot be pruned: shape .* is invalid for input of size .*; use --sparse"
    ):
        prune.without_channels(_of_all_heads("test_vit"), 0.3)


def test_the_smallest_weights_are_zero_and_stay_so_while_the_others_learn(stored: Stored) -> None:
    sparse = prune.without_weights(stored.bundle, 0.5)

    def kernels() -> Iterator[torch.Tensor]:
        return (one for name, one in sparse.model.backbone.named_parameters() if one.dim() > 1)

    zeros = [(one == 0) for one in kernels()]
    share = sum(int(one.sum()) for one in zeros) / sum(one.numel() for one in zeros)
    assert share == pytest.approx(0.5, abs=0.01)
    kept = min(float(one[one != 0].detach().abs().min()) for one in kernels())
    original = dict(stored.bundle.model.backbone.named_parameters())
    lost = [
        original[name][one == 0].abs().max()
        for name, one in sparse.model.backbone.named_parameters()
        if one.dim() > 1 and bool((one == 0).any())
    ]
    assert max(lost) <= kept
    before = [one.detach().clone() for one in kernels()]
    recover.recover(sparse, stored.experiment, stored.root, stored.prepared, epochs=1)
    assert all(torch.equal(one == 0, was) for one, was in zip(kernels(), zeros, strict=True))
    assert any(not torch.equal(one, was) for one, was in zip(kernels(), before, strict=True))


def test_a_pruned_network_learns_again(stored: Stored) -> None:
    pruned = prune.without_channels(stored.bundle, 0.5)
    before = {name: one.detach().clone() for name, one in pruned.model.named_parameters()}
    learnt = recover.recover(pruned, stored.experiment, stored.root, stored.prepared, epochs=1)
    after = dict(learnt.model.named_parameters())
    assert before.keys() == after.keys()
    assert any(not torch.equal(one, before[name]) for name, one in after.items() if name.startswith("backbone."))
    readouts = learnt.readouts(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8))
    assert bool(torch.isfinite(readouts["colour"]["probabilities"]).all())


def test_what_normalisation_knows_of_channels_that_are_gone_is_learnt_anew(stored: Stored) -> None:
    pruned = prune.without_channels(stored.bundle, 0.5)
    before = dict(pruned.model.named_buffers())
    means = {name: one.clone() for name, one in before.items() if name.endswith("running_mean")}
    learnt = recover.recover(pruned, stored.experiment, stored.root, stored.prepared, epochs=1)
    after = dict(learnt.model.named_buffers())
    assert means
    assert all(not torch.equal(after[name], one) for name, one in means.items() if one.numel() > 1)
    assert all(layer.momentum for layer in learnt.model.modules() if isinstance(layer, torch.nn.BatchNorm2d))
