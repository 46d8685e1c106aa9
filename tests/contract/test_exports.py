"""Every kind of head on every kind of backbone leaves as ONNX and answers the same, in batches of any size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thaw import bundle, predictor
from thaw.backends import artifact as backends
from thaw.backends.formats import onnx, openvino
from thaw.backends.network import Network
from thaw.config import load as config
from thaw.data.labels import LabelSchema

pytestmark = pytest.mark.slow

SIZES = {
    "resnet50": 64,
    "inception_v3": 96,
    "mobilenetv3_large_100": 64,
    "tf_efficientnet_lite0": 64,
    "torchvision/shufflenet_v2_x1_0": 64,
    "vit_small_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 64,
    "convnext_tiny": 64,
}
HEADS: dict[str, dict[str, Any]] = {
    "kind": {"type": "classification"},
    "tags": {"type": "multilabel"},
    "things": {"type": "detection", "detector": "fcos", "convs": 1, "min_score": 0},
    "others": {"type": "detection", "detector": "faster_rcnn", "width": 16, "proposals": 8, "min_score": 0},
    "ground": {"type": "segmentation", "channels": 8},
}
LABELS = {
    "kind": LabelSchema(kind="class", names=("bad", "fair", "good")),
    "tags": LabelSchema(kind="classes", names=("a", "b")),
    "things": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "others": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "ground": LabelSchema(kind="mask", names=("board", "copper")),
}


@pytest.mark.parametrize("backbone", SIZES)
def test_an_exported_network_answers_as_its_bundle(backbone: str, tmp_path: Path) -> None:
    values = {
        "name": "all",
        "data": {"source": {"type": "boards"}, "image": {"size": SIZES[backbone]}},
        "tasks": HEADS,
        "model": {"backbone": backbone, "weights": {"source": "none"}, "pyramid": 16},
    }
    made = bundle.create(config.parse(values, "test"), LABELS)
    made.model.eval()
    onnx.write(Network(made), tmp_path)
    openvino.convert(tmp_path / onnx.FILE, tmp_path, half=False)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40 + seed, 52, 3), dtype=np.uint8) for seed in range(3)]
    wanted = predictor.answer(made, images)
    for to in ("onnx", "openvino"):
        network = backends.opened(tmp_path, to, made.description)
        found = predictor.answer(network, images)
        found_alone = [predictor.answer(network, [image])[0] for image in images]
        for answers in (found, found_alone):
            for one, other in zip(answers, wanted, strict=True):
                for task in ("kind", "tags", "ground"):
                    assert one[task].distance(other[task]) < 0.01, (to, task)
        pixels = torch.from_numpy(random.integers(0, 256, (5, 3, SIZES[backbone], SIZES[backbone]), dtype=np.uint8))
        ours, theirs = network.readouts(pixels), made.readouts(pixels)
        for task in ("things", "others"):  # answers are ties of random boxes, so what they are read off is compared
            assert torch.allclose(ours[task]["scores"], theirs[task]["scores"], atol=1e-3), (to, task)
            assert torch.allclose(ours[task]["boxes"], theirs[task]["boxes"], atol=0.05), (to, task)
