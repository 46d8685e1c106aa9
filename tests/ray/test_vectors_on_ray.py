"""Vectors of a dataset come in the order of its facts, and what was computed once is read."""

import io

import numpy as np
import pytest

from thaw.config.experiment import Weights
from thaw.data import dataset, facts
from thaw.errors import ModelError
from thaw.probe import embedding
from thaw.probe.vectors import on_ray as vectors
from thaw.probe.vectors.on_ray import Eye
from thaw.storage import open_root
from tiny import changed


@pytest.fixture(scope="module")
def root(experiment):
    return open_root(experiment.storage.root)


@pytest.fixture(scope="module")
def found(root, experiment, prepared):
    return vectors.of_all(root, experiment, prepared)


def kept(root, prepared):
    folder = f"vectors/{prepared.name}-{prepared.fingerprint}"
    return [f"{folder}/{name}" for name in root.list(folder)]


def test_every_row_is_of_the_image_that_the_facts_have_there(root, experiment, prepared, found):
    ids = facts.read(root, prepared)["id"].to_pylist()
    eye = Eye.of(experiment)
    embedder = embedding.pretrained(eye.candidate, eye.view)
    assert found.shape[0] == len(ids) == sum(prepared.rows(split) for split in prepared.splits)
    assert found.dtype == np.float32
    start = 0
    for split in ("train", "val", "test"):
        for shard in prepared.splits[split]:
            table = dataset.read_shard(root, f"{prepared.path}/{shard.file}")
            assert table["id"].to_pylist() == ids[start : start + shard.rows]
            expected = embedding.vectors(embedder, table, range(shard.rows), eye.view).features
            np.testing.assert_allclose(found[start : start + shard.rows], expected, atol=1e-4)
            start += shard.rows


def test_what_was_computed_before_is_read_and_not_computed(root, experiment, prepared, found):
    [place] = kept(root, prepared)
    before, marked = root.read_bytes(place), io.BytesIO()
    np.save(marked, found + 1)
    root.write_bytes(place, marked.getvalue())
    try:
        np.testing.assert_array_equal(vectors.of_all(root, experiment, prepared), found + 1)
    finally:
        root.write_bytes(place, before)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"data__image__fit": "stretch"}, {"seed": 1}])  # the seed is of random weights
def test_another_view_or_other_weights_have_vectors_of_their_own(root, experiment, prepared, found, asked):
    before = kept(root, prepared)
    vectors.of_all(root, changed(experiment, **asked), prepared)
    assert len(kept(root, prepared)) == len(before) + 1


def test_weights_that_cannot_be_had_are_for_the_user_to_mend(root, experiment, prepared):
    weights = Weights(source="path", path="/nowhere/weights.pth")
    missing = experiment.model_copy(update={"model": experiment.model.model_copy(update={"weights": weights})})
    with pytest.raises(ModelError, match="is not a file that this node can read"):
        vectors.of_all(root, missing, prepared)
