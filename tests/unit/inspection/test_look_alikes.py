"""Images of two splits that lie much nearer to each other than to the rest are told of."""

import numpy as np
import pytest

from material import images, material
from thaw.inspection.checks import look_alikes

COUNT = 300


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(COUNT, 128)).astype(np.float32)


def found(vectors, copied=()):
    """Return what is found of images, every second of which is a test image; those copied are the same file."""
    rows = [*images(len(vectors) // 2), *images(len(vectors) - len(vectors) // 2, "test")]
    rows = [{**row, "sha256": row["id"], "signature": None} for row in rows]
    for one, other in copied:
        rows[other]["sha256"] = rows[one]["sha256"]
    blank = material(images(1)).facts["signature"][0].as_py()
    blank = "iIiI" * (len(blank) // 4)  # zeros: an image of one grey
    return list(look_alikes.check(material([{**row, "signature": blank} for row in rows], vectors=vectors)))


def beside(vectors, pairs, far=0.1):
    """Return vectors in which one of each pair lies beside the other."""
    moved = vectors.copy()
    for one, other in pairs:
        moved[other] = vectors[one] + far * vectors[other]
    return moved


def test_vectors_that_have_nothing_to_do_with_each_other_are_passed(vectors):
    assert found(vectors) == []


def test_pairs_across_splits_are_told_of_nearest_first(vectors):
    [one] = found(beside(beside(vectors, [(3, 200)]), [(7, 250)], far=0.3))
    assert one.level == "warning"
    assert one.count == 4
    assert [case.images for case in one.cases] == [("train-003", "test-050"), ("train-007", "test-100")]
    assert one.cases[0].score > one.cases[1].score >= 0.5


def test_pairs_of_one_split_are_passed(vectors):
    assert found(beside(vectors, [(3, 20)])) == []


def test_copies_are_not_told_of_again(vectors):
    assert found(beside(vectors, [(3, 200)]), copied=[(3, 200)]) == []


def test_near_is_measured_by_what_is_usual_there(vectors):
    crowd = vectors[0] + 0.1 * vectors[100:200]  # of both splits, and none nearer than all others
    vectors[100:200] = crowd
    assert found(vectors) == []


def test_without_vectors_or_with_few_images_nothing_is_said(vectors):
    assert list(look_alikes.check(material(images(3)))) == []
    assert found(beside(vectors[:150], [(3, 100)])) == []
