"""A GPU answers what a CPU answers: scored, served, tuned for speed, embedded, and after a model crossed over."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import stored as made
from in_process import every_kind
from stored import Stored
from thaw import bundle, golden, predictor
from thaw.backends.load import load_bundle
from thaw.config.experiment import Weights
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data.preprocess import Preprocess
from thaw.probe import cost, embedding
from thaw.probe.candidates import Candidate
from thaw.probe.embedding import View
from thaw.registry import store
from thaw.serving.loaded import Key, Opener

SIDE = 32


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A model in a store, made on a CPU."""
    return made.stored(tmp_path_factory.mktemp("stored"))


def images(number: int) -> Sequence[NDArray[np.uint8]]:
    random = np.random.default_rng(3)
    return [random.integers(0, 255, (SIDE + 9, SIDE, 3), dtype=np.uint8) for _ in range(number)]


def test_every_kind_of_head_answers_the_same(tmp_path: Path) -> None:
    every_kind().save(tmp_path)
    mine, found = (predictor.answer(bundle.load(tmp_path, device), images(8)) for device in ("cpu", "cuda"))
    for one, other in zip(mine, found, strict=True):
        assert one.keys() == other.keys()
        for task in one:
            assert one[task].distance(other[task]) < golden.TOLERANCE, task


def test_a_model_made_on_a_cpu_passes_its_golden_images_on_a_gpu(stored: Stored) -> None:
    loaded = load_bundle(stored.root, store.resolve(stored.root, stored.reference), "cuda")
    assert next(loaded.model.parameters()).is_cuda


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "settings",
    [{}, {"channels_last": True}, {"precision": "bf16", "channels_last": True}, {"compile": True}],
    ids=["as scored", "channels last", "bf16", "compiled"],
)
def test_an_endpoint_answers_on_a_gpu(stored: Stored, settings: dict[str, Any]) -> None:
    chosen = Serve(gpus=1, max_batch=4, **settings)
    loaded = Opener(stored.root, chosen, 1)(Key("colours", 1), [])
    try:
        off = golden.check(loaded.network, stored.folder, math.inf)
        assert off is not None
        assert off < (0.2 if "precision" in settings else golden.TOLERANCE)
        assert torch.cuda.memory_allocated() > 0
    finally:
        loaded.batcher.close()


def test_vectors_of_images_are_the_same() -> None:
    def embed(device: str) -> NDArray[np.float32]:
        view = View(Preprocess(size=SIDE, fit="stretch"), Limits(), {}, seed=3, device=device)
        found = embedding.pretrained(Candidate("test_resnet", Weights(source="none")), view)
        return found.embed(images(4), view.preprocess)

    np.testing.assert_allclose(embed("cuda"), embed("cpu"), rtol=0.02, atol=0.01)


def test_the_time_of_a_forward_pass_is_that_of_the_gpu() -> None:
    class Large(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            large = pixels.new_ones(8192, 8192, dtype=torch.float32)
            return large @ large @ large

    found = cost.latency(Large(), SIDE, 1, torch.device("cuda"))
    assert found.ms > 1
    assert not found.disturbed
