"""The nearest vectors are found, among few exactly and among many nearly always."""

import numpy as np
import pytest

from thaw.inspection.likeness import neighbours
from thaw.inspection.likeness.neighbours import Neighbours


def unit(count, seed):
    found = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "least"), [(500, 1.0), (neighbours.EXACT + 1, 0.97)])
def test_a_vector_that_was_moved_a_little_is_found_again(count, least):
    vectors = unit(count, 0)
    queries = vectors[::50] + 0.2 * unit(len(vectors[::50]), 1)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    cosines, places = Neighbours(vectors).nearest(queries, 3)
    hit = places[:, 0] == np.arange(0, count, 50)
    assert hit.mean() >= least
    expected = (queries * vectors[::50]).sum(1)
    np.testing.assert_allclose(cosines[hit, 0], expected[hit], atol=0.02)


def test_fewer_than_asked_for_are_filled_up_with_none():
    cosines, places = Neighbours(unit(2, 0)).nearest(unit(1, 1), 4)
    assert sorted(places[0].tolist()) == [-1, -1, 0, 1]
    assert (cosines[places == -1] < -1).all()
