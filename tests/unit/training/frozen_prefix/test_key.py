"""A key changes with everything that what is kept depends on, and with nothing else."""

import dataclasses
from typing import Any

import pytest
import torch
from kept_run import KeptRun, experiment

from thaw.training.frozen_prefix.key import content_key


@pytest.fixture(scope="module")
def run() -> KeptRun:
    return KeptRun(experiment(("colour",)), None)


def key(run: KeptRun, depth: int = 2, view: int = 0, images: str = "some train", on: Any = None, **feed: Any) -> str:
    run.trained.model.open_groups(depth)
    halves = run.trained.model.split(32)
    changed = dataclasses.replace(run.images._train.feed, **feed)
    return content_key(run.trained, halves, changed, images, view, on or run.on)


def test_the_number_of_workers_the_batch_and_open_weights_change_nothing(run: KeptRun) -> None:
    one = key(run)
    assert one == key(run, workers=2, worker=1, batch=16, views=3)
    [last] = run.trained.model.open_weights()[:1]
    with torch.no_grad():
        last.add_(1.0)
    assert one == key(run)


def test_everything_else_changes_it(run: KeptRun) -> None:
    feed = run.images._train.feed
    assert feed.augment is not None
    others = [
        key(run),
        key(run, depth=1),
        key(run, depth=0),
        key(run, view=1),
        key(run, images="some val"),
        key(run, seed=1),
        key(run, augment=feed.augment.model_copy(update={"hflip": 0.1})),
        key(run, augment=None),
        key(run, preprocess=feed.preprocess.model_copy(update={"fit": "stretch"})),
        key(run, on=dataclasses.replace(run.on, autocast=torch.bfloat16)),
    ]
    with torch.no_grad():
        next(run.trained.model.backbone.parameters()).mul_(1.01)
    others.append(key(run))
    assert len(set(others)) == len(others)


def test_without_augmentation_neither_seed_nor_view_changes_it(run: KeptRun) -> None:
    assert key(run, augment=None) == key(run, augment=None, seed=5, view=1)
