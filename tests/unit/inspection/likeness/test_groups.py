"""Copies of copies are one group."""

import random

import numpy as np
import pyarrow as pa
import pytest

import scenes
from thaw.inspection.likeness import groups, near


def facts(*images, same=()):
    """Facts of images; those in ``same`` have the bytes of the first."""
    hashes = ["first" if place in same else str(place) for place in range(len(images))]
    return pa.table({"sha256": hashes, "signature": [scenes.signature(image) for image in images]})


def test_groups_are_exact_and_near_copies_together():
    one, other = scenes.scene(1), scenes.scene(2)
    found = groups.of(facts(one, other, one, scenes.compressed(one), scenes.scene(3), same=(0, 2)))
    assert found.exact.tolist() == [0, 1, 0, 3, 4]
    assert found.groups.tolist() == [0, 1, 0, 0, 4]
    assert [group.tolist() for group in found.members] == [[0, 2, 3]]
    assert (found.pairs.first.tolist(), found.pairs.second.tolist()) == ([0], [3])


def test_all_of_many_copies_are_one_group():
    image = scenes.scene(1)
    many = [scenes.compressed(image, quality) for quality in range(30, 90, 2)]
    crops = [scenes.cropped(image, 0.1 + 0.001 * step, 0.1, 0, 0) for step in range(20)]
    assert len(many) > 3 * near.MOST
    found = groups.of(facts(scenes.scene(2), *many, *crops, scenes.scene(3)))
    assert [group.tolist() for group in found.members] == [list(range(1, 51))]


def test_one_image_and_none_make_no_group():
    assert groups.of(facts(scenes.scene(1))).members == []
    assert groups.of(facts()).members == []


@pytest.mark.parametrize("seed", range(6))
def test_components_are_what_a_walk_reaches(seed):
    draw = random.Random(seed)
    ends = [(draw.randrange(60), draw.randrange(60)) for _ in range(draw.randrange(70))]
    first, second = (np.array([pair[side] for pair in ends], dtype=np.int64) for side in (0, 1))
    beside = {place: {place} for place in range(60)}
    for one, other in ends:
        joined = beside[one] | beside[other]
        for place in joined:
            beside[place] = joined
    assert groups.components(60, first, second).tolist() == [min(beside[place]) for place in range(60)]


def test_a_long_chain_is_one_component():
    order = np.random.default_rng(0).permutation(2000)
    assert not groups.components(2000, order[:-1], order[1:]).any()
