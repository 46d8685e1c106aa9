"""Every kind of backbone goes with every task: a step of training, a bundle, an answer, the same answer over HTTP."""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from asking import asking
from in_process import InProcess
from thaw import bundle, predictor
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.predictor import Answers
from thaw.serving.api.app import build_app
from thaw.training import checkpoint, loop
from thaw.training.loop import Batch, Device, Epoch
from thaw.training.plan import FinetunePlan

pytestmark = pytest.mark.slow

SIZES = {
    "resnet50": 33,
    "inception_v3": 75,
    "mobilenetv3_large_100": 33,
    "tf_efficientnet_lite0": 33,
    "torchvision/shufflenet_v2_x1_0": 33,
    "vit_small_patch16_224": 32,
    "swin_tiny_patch4_window7_224": 32,
    "convnext_tiny": 33,
}
"""Backbone -> side of its input: few pixels, and where the network allows it no multiple of its stride."""
HEADS: dict[str, dict[str, Any]] = {
    "classification": {"type": "classification"},
    "multilabel": {"type": "multilabel"},
    "fcos": {"type": "detection", "detector": "fcos", "width": 12, "convs": 1, "min_score": 0},
    "faster_rcnn": {"type": "detection", "detector": "faster_rcnn", "width": 16, "proposals": 8, "min_score": 0},
    "segmentation": {"type": "segmentation", "channels": 12},
}
LABELS = {
    "class": LabelSchema(kind="class", names=("bad", "good")),
    "classes": LabelSchema(kind="classes", names=("a", "b", "c")),
    "boxes": LabelSchema(kind="boxes", names=("bolt", "nut")),
    "mask": LabelSchema(kind="mask", names=("board", "copper")),
}
TASK = "asked"
NOTHING_FOUND = ("inception_v3", "faster_rcnn")
"""With random weights and statistics that are not its own this network's maps grow so large that no box is left."""


def _experiment(backbone: str, head: str) -> Experiment:
    values = {
        "name": "pair",
        "data": {"source": {"type": "boards"}, "image": {"size": SIZES[backbone]}},
        "tasks": {TASK: HEADS[head]},
        "model": {"backbone": backbone, "weights": {"source": "none"}, "pyramid": 16},
        "finetune": {"phases": [{"epochs": 1, "depth": "all", "schedule": "constant", "warmup": 0}]},
    }
    return config.parse(values, "test")


def _batch(schema: LabelSchema, size: int) -> Batch:
    """Return two labelled images of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, size, size), dtype=np.uint8)
    edges = np.array([[4, 4, size - 8, size - 8]], dtype=np.float32)
    left = np.zeros((size, size), dtype=np.uint8)
    left[:, : size // 2] = 1
    annotations: dict[str, list[Annotation]] = {
        "class": [0, 1],
        "classes": [(0, 2), ()],
        "boxes": [Boxes(edges, np.array([place], dtype=np.int64)) for place in range(2)],
        "mask": [left, left.T.copy()],
    }
    return {"pixels": pixels, f"target.{TASK}": schema.targets(annotations[schema.kind], size)}


def _step(chosen: Experiment, made: Bundle, batch: Batch) -> Epoch:
    """Take one step of training by the loop that runs use, and return what it tells."""
    plan = FinetunePlan.of(chosen, [group.name for group in made.model.groups], 1)
    on = Device(torch.device("cpu"), None)
    state = checkpoint.fresh(made, plan, chosen.finetune)

    def batches(_start: int, _stop: int) -> Iterator[Batch]:
        yield batch

    def validate() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        return loop.evaluate(made.model, made.tasks, batches(0, 1), on)

    [progress] = loop.fit(made.model, made.tasks, plan, chosen.finetune, state, batches, validate, on, seed=1)
    return progress.epoch


def _over_http(answering: Bundle, content: bytes) -> Any:
    """Return the answers that the real application gives to one encoded image."""

    ask = asking(build_app(InProcess(answering)))
    response = ask("POST", "/predict", content=content, headers={"content-type": "image/png"})
    assert response.status_code == 200
    return response.json()["answers"]


@dataclass
class Pair:
    """One pair after one step.

    Attributes:
        names: the backbone and the head.
        moved: names in the model's state whose values the step changed.
        trained, loaded: the bundle as it was trained, and as it came back from disk.
    """

    names: tuple[str, str]
    epoch: Epoch
    moved: set[str]
    trained: Bundle
    loaded: Bundle
    pixels: NDArray[np.uint8]

    def answers(self, answering: Bundle) -> Answers:
        return predictor.answer(answering, [self.pixels])[0]


@pytest.fixture(scope="module", params=[(backbone, head) for backbone in SIZES for head in HEADS], ids="-".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    backbone, head = request.param
    chosen = _experiment(backbone, head)
    schema = LABELS[chosen.tasks[TASK].annotation]
    made = bundle.create(chosen, {TASK: schema})
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    epoch = _step(chosen, made, _batch(schema, SIZES[backbone]))
    moved = {name for name, value in made.model.state_dict().items() if not torch.equal(value, before[name])}
    made.model.eval()
    with tempfile.TemporaryDirectory() as folder:  # gone at once: forty bundles are gigabytes
        made.save(Path(folder))
        loaded = bundle.load(Path(folder))
    pixels = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    return Pair((backbone, head), epoch, moved, made, loaded, pixels)


def test_one_step_moves_the_head_and_the_backbone_at_a_finite_loss(pair: Pair) -> None:
    assert pair.epoch.train_loss.keys() == pair.epoch.val_loss.keys() == {TASK}
    assert all(np.isfinite([*pair.epoch.train_loss.values(), *pair.epoch.val_loss.values()]))
    weights = {name for name, _ in pair.trained.model.named_parameters()}
    head = {name for name in weights if name.startswith("heads.")}
    assert head & pair.moved
    pyramid = {name for name in weights if name.startswith("pyramid.")}
    assert bool(pyramid) == bool(pair.trained.tasks[TASK].finest)
    assert bool(pyramid & pair.moved) == bool(pyramid)
    for group in pair.trained.model.groups[:-1]:
        assert {f"backbone.body.{name}" for name in group.parameters} & pair.moved
    assert pair.moved <= weights


def test_saved_and_loaded_it_answers_the_same_bit_for_bit(pair: Pair) -> None:
    state = pair.loaded.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in pair.trained.model.state_dict().items())
    [[name, answer]] = pair.answers(pair.loaded).items()
    assert answer == pair.answers(pair.trained)[name]
    assert any(answer.model_dump().values()) or pair.names == NOTHING_FOUND


def test_over_http_it_answers_what_the_predictor_does(pair: Pair) -> None:
    content = io.BytesIO()
    Image.fromarray(pair.pixels).save(content, "PNG")
    assert _over_http(pair.loaded, content.getvalue()) == predictor.as_json(pair.answers(pair.loaded))
