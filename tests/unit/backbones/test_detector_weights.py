"""Weights of torchvision's detectors reach the place that is built like theirs, and no other."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torchvision.models import detection as theirs

from thaw.backbones import detector_weights
from thaw.backbones.contract import MapFacts
from thaw.backbones.pyramid import Pyramid
from thaw.data.labels import LabelSchema
from thaw.tasks.contract import HeadInputs
from thaw.tasks.detection import Options, Task

MAPS = tuple(MapFacts(channels, stride) for channels, stride in ((256, 4), (512, 8), (1024, 16), (2048, 32)))


def _state(detector: str) -> dict[str, Tensor]:
    """Return random weights of one of torchvision's detectors."""
    torch.manual_seed(1)
    build = theirs.fasterrcnn_resnet50_fpn if detector == "faster_rcnn" else theirs.fcos_resnet50_fpn
    return {name: tensor + 0.01 for name, tensor in build(weights=None, weights_backbone=None).state_dict().items()}


def _model(detector: str, finest: int, channels: int = 256, convs: int = 4) -> nn.Module:
    torch.manual_seed(2)
    pyramid = Pyramid(MAPS, channels, finest)
    options = Options(type="detection", detector=detector, convs=convs)
    task = Task("things", options, LabelSchema(kind="boxes", names=("ant", "bee")))
    head = task.build_head(HeadInputs(2048, 0.0, channels, pyramid.strides))
    return nn.ModuleDict({"pyramid": pyramid, "heads": nn.ModuleDict({"things": head})})


PLACES = {
    "faster_rcnn": {
        "pyramid.fpn.inner_blocks.0.0.weight": "backbone.fpn.inner_blocks.0.0.weight",
        "pyramid.fpn.layer_blocks.3.0.bias": "backbone.fpn.layer_blocks.3.0.bias",
        "heads.things.rpn.head.conv.0.0.weight": "rpn.head.conv.0.0.weight",
        "heads.things.rpn.head.cls_logits.weight": "rpn.head.cls_logits.weight",
        "heads.things.roi_heads.box_head.fc6.weight": "roi_heads.box_head.fc6.weight",
        "heads.things.roi_heads.box_head.fc7.bias": "roi_heads.box_head.fc7.bias",
    },
    "fcos": {
        "pyramid.fpn.inner_blocks.0.0.weight": "backbone.fpn.inner_blocks.0.0.weight",
        "heads.things.head.classification_head.conv.9.weight": "head.classification_head.conv.9.weight",
        "heads.things.head.regression_head.bbox_reg.weight": "head.regression_head.bbox_reg.weight",
        "heads.things.head.regression_head.bbox_ctrness.bias": "head.regression_head.bbox_ctrness.bias",
    },
}


@pytest.mark.parametrize(("detector", "finest"), [("faster_rcnn", 4), ("fcos", 8)])
def test_all_but_the_classes_is_taken_over(detector: str, finest: int) -> None:
    model, state = _model(detector, finest), _state(detector)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loaded = detector_weights.load_pretrained(model, state, "things")
    for place, name in PLACES[detector].items():
        assert torch.equal(model.get_parameter(place), state[name])
    fresh = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    classes = {name for name in before if "box_predictor" in name or "classification_head.cls_logits" in name}
    assert fresh == classes == set(before) - set(loaded.loaded)
    assert loaded.misfits == ()
    assert all(
        re.match(r"roi_heads.box_predictor|head.classification_head.cls|backbone.fpn.extra", one)
        for one in loaded.unused
    )


def test_names_of_older_versions_are_understood() -> None:
    state = _state("faster_rcnn")
    old = {re.sub(r"(_blocks\.\d)\.0|(head\.conv)\.0\.0", r"\1\2", name): tensor for name, tensor in state.items()}
    assert {"rpn.head.conv.weight", "backbone.fpn.inner_blocks.2.bias"} <= set(old)
    models = [_model("faster_rcnn", 4) for _ in range(2)]
    found = [
        detector_weights.load_pretrained(model, given, "things")
        for model, given in zip(models, (state, old), strict=True)
    ]
    assert found[0] == found[1]
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name])


def test_pyramids_of_different_heights_meet_at_the_coarsest_map() -> None:
    model, state = _model("fcos", 4), _state("fcos")
    loaded = detector_weights.load_pretrained(model, state, "things")
    for place in range(3):
        own = model.get_parameter(f"pyramid.fpn.inner_blocks.{place + 1}.0.weight")
        assert torch.equal(own, state[f"backbone.fpn.inner_blocks.{place}.0.weight"])
    assert not any(".inner_blocks.0." in name for name in loaded.loaded)


def test_what_has_another_shape_is_left_and_named() -> None:
    model, state = _model("fcos", 8, channels=64, convs=2), _state("fcos")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loaded = detector_weights.load_pretrained(model, state, "things")
    assert "head.classification_head.conv.0.weight" in loaded.misfits
    assert "head.classification_head.conv.9.weight" in loaded.unused
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(loaded.loaded)


def test_the_body_is_a_network_of_its_own() -> None:
    state = _state("fcos")
    with torch.device("meta"):
        own = timm.create_model("resnet50", num_classes=0).state_dict()
    body = detector_weights.body(state)
    assert {name: tensor.shape for name, tensor in body.items()} == {
        name: tensor.shape for name, tensor in own.items() if name in body
    }
    assert all(name.endswith("num_batches_tracked") for name in set(own) - set(body))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_a_detector_is_known_for_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"detector{suffix}"
    small = {name: tensor.clone() for name, tensor in _state("fcos").items() if tensor.numel() < 5000}
    if suffix == ".pth":
        torch.save(small, path)
        read = torch.load(path, weights_only=True)
    else:
        safetensors.torch.save_file(small, path)
        read = safetensors.torch.load_file(path)
    assert detector_weights.is_detector(read)
    assert not detector_weights.is_detector(detector_weights.body(read))


def test_every_head_takes_what_fits_and_what_fits_none_is_told() -> None:
    model, state = _model("fcos", 8), _state("fcos")
    model.get_submodule("heads").add_module("other", nn.Linear(2, 2))
    found = detector_weights.load_everywhere(model, state, ["other", "things"])
    alone = detector_weights.load_pretrained(_model("fcos", 8), state, "things")
    assert set(found.loaded) == set(alone.loaded)
    assert set(found.unused) == set(alone.unused)
    assert found.misfits == ()
    pyramid = sum(name.startswith("pyramid.") for name in found.loaded)
    assert (
        f"taken over: its backbone, {pyramid} tensors of pyramid, {len(found.loaded) - pyramid} tensors of heads"
        in (found.told())
    )
    assert "cls_logits" not in found.told()


def test_what_is_left_is_told_with_what_would_fit() -> None:
    model, state = _model("fcos", 8, channels=64, convs=2), _state("fcos")
    found = detector_weights.load_everywhere(model, state, ["things"])
    assert f"{len(found.misfits)} tensors have another shape here, such as {found.misfits[0]}" in found.told()
    assert "a pyramid of 256 channels" in found.told()
    assert " have no place here, such as " in found.told()
