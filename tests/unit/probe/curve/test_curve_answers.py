"""Heads that learn from more images answer better, and what is answered is what the best head says."""

import dataclasses

import landscape
import numpy as np
import pytest
import torch

from thaw.probe import linear
from thaw.probe.curve import answers, subsets
from thaw.probe.curve.answers import DRAWS, Ground
from thaw.probe.embedding import Vectors

TRAIN, VAL = landscape.vectors(300, 0), landscape.vectors(150, 1)
TASKS = landscape.tasks()


def _ground(name: str, train: Vectors = TRAIN, val: Vectors = VAL) -> Ground:
    return Ground.of(TASKS[name], train, val)


@pytest.mark.parametrize("name", ["kind", "tags"])
def test_more_images_give_better_answers(name: str) -> None:
    ground = _ground(name)
    right = (answers.drawn(ground, 0, 0) == ground.truth).mean(axis=tuple(range(1, ground.truth.ndim + 1)))
    assert right[-1] > right[0] + 0.05


def test_answers_of_all_images_are_those_of_the_best_head() -> None:
    ground = _ground("kind")
    found = linear.best(TASKS["kind"], TRAIN, VAL)
    mine = (answers.drawn(ground, 0, 0)[-1] == ground.truth).mean()
    assert mine == pytest.approx(found.metrics["accuracy"], abs=0.03)  # chosen by loss here, by accuracy there


def test_every_draw_ends_with_all_images_and_only_the_first_learns_from_them() -> None:
    ground = dataclasses.replace(_ground("kind"), sizes=np.array([30, 60, 300]))
    draws = [answers.drawn(ground, 0, one) for one in range(3)]
    assert [len(one) for one in draws] == [3, 2, 2]
    joined = answers.joined(draws)
    assert joined.shape == (3, 3, 150)
    assert (joined[-1] == draws[0][-1]).all()
    assert (joined[:2, 1] == draws[1]).all()
    assert (joined[0, 0] != joined[0, 1]).any()


def test_heads_see_the_subset_alone() -> None:
    ground = dataclasses.replace(_ground("kind"), sizes=np.array([30, 300]))
    order = subsets.order(ground.targets, 0, 1)
    other = ground.places.clone()
    other[torch.from_numpy(order[30:])] = 1000.0
    changed = dataclasses.replace(ground, places=other)
    assert (answers.drawn(ground, 0, 1) == answers.drawn(changed, 0, 1)).all()


def test_images_without_a_label_are_neither_learnt_from_nor_answered() -> None:
    targets = {name: one.copy() for name, one in TRAIN.targets.items()}
    targets["kind"][::3] = -1
    ground = _ground("kind", Vectors(TRAIN.features, targets))
    assert len(ground.targets) == len(ground.places) == 200
    assert ground.sizes[-1] == 200


def test_there_are_several_draws() -> None:
    assert DRAWS > 2
