"""Vectors are what a head is given in training, in the order of the rows."""

import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from thaw.backbones import weights
from thaw.config.experiment import Limits, Weights
from thaw.data import dataset
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import Preprocess, as_tensor
from thaw.probe import embedding
from thaw.probe.candidates import Candidate
from thaw.probe.embedding import View

LABELS = {"kind": LabelSchema(kind="class", names=("a", "b")), "tags": LabelSchema(kind="classes", names=("x", "y"))}
VIEW = View(Preprocess(size=32, fit="stretch"), Limits(), {"kind": LABELS["kind"]}, seed=3, device="cpu")
CANDIDATE = Candidate("test_resnet", Weights(source="none"))


@pytest.fixture(scope="module")
def pixels() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def shard(pixels: list[np.ndarray]) -> pa.Table:
    annotations = {"kind": [0, 1, None, 1, 0], "tags": [(0,), (), None, (0, 1), (1,)]}
    images = [_png(one) for one in pixels]
    return dataset.table([str(row) for row in range(5)], images, [(50, 40)] * 5, annotations, LABELS)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_vectors_are_the_backbones_of_normalised_images_with_their_targets(
    shard: pa.Table, pixels: list[np.ndarray]
) -> None:
    found = embedding.vectors(embedding.pretrained(CANDIDATE, VIEW), shard, [4, 2, 1], VIEW)
    torch.manual_seed(3)
    backbone, _ = weights.load("test_resnet", CANDIDATE.weights, 32)
    shown = torch.stack([VIEW.preprocess(as_tensor(pixels[row])) for row in (4, 2, 1)]) / 255
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (backbone.mean, backbone.std))
    with torch.inference_mode():
        expected = backbone.eval()((shown - mean) / std, False).pooled
    np.testing.assert_allclose(found.features, expected.numpy(), atol=1e-5)
    assert {name: one.tolist() for name, one in found.targets.items()} == {"kind": [0, -1, 1]}


def test_random_weights_are_those_of_the_seed() -> None:
    first = embedding.pretrained(CANDIDATE, VIEW)
    torch.manual_seed(99)
    assert embedding.pretrained(CANDIDATE, VIEW).sha256 == first.sha256
    other = View(VIEW.preprocess, VIEW.limits, VIEW.labels, seed=4, device="cpu")
    assert embedding.pretrained(CANDIDATE, other).sha256 != first.sha256


def test_parts_are_joined_in_order(shard: pa.Table) -> None:
    embedder = embedding.pretrained(CANDIDATE, VIEW)
    parts = [embedding.vectors(embedder, shard, rows, VIEW) for rows in ([0, 1], [2], [3, 4])]
    whole = embedding.vectors(embedder, shard, range(5), VIEW)
    np.testing.assert_allclose(embedding.joined(parts).features, whole.features, atol=1e-5)
    assert embedding.joined(parts).targets["kind"].tolist() == whole.targets["kind"].tolist()
