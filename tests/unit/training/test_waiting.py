"""Advice on waiting for data: nothing while it is little, and then the setting that helps most first."""

import pytest

from thaw.config import load
from thaw.training.state import Epoch
from thaw.training.waiting import MUCH, Supply, advice
from tiny import EXPERIMENT, changed

LITTLE = Supply(side=64, decoders=4)


def epoch(waiting: float, first: float = 0.0) -> Epoch:
    values = {"epoch": 1, "phase": 0, "depth": 0, "step": 9, "train_loss": {}, "val_loss": {}, "metrics": {}}
    return Epoch(**values, score=0, seconds=9, images_per_s=1, waiting=waiting, waiting_first=first)


def experiment(**places):
    return changed(load.parse(EXPERIMENT, "test"), train__prefetch=4, **places)


@pytest.mark.parametrize("waiting", [0.0, MUCH - 0.001])
def test_of_little_waiting_nothing_is_said(waiting):
    assert advice(epoch(waiting), experiment(), Supply(side=4000, decoders=64)) == ""


def test_waiting_for_the_first_batch_alone_is_no_fault_of_a_setting():
    said = advice(epoch(0.5, first=0.45), experiment(), LITTLE)
    assert "first batch" in said
    assert "nothing to change" in said
    assert "nothing to change" not in advice(epoch(0.5, first=0.3), experiment(), LITTLE)


def test_cpus_that_stand_idle_are_put_to_use_first():
    said = advice(epoch(0.3), experiment(), Supply(side=64, decoders=15.6))
    assert said.startswith("waiting for data: raise train.prefetch from 4 to 16: ")
    assert "prefetch" not in advice(epoch(0.3), experiment(), LITTLE)


@pytest.mark.parametrize(
    ("side", "size", "stored"), [(1080, 224, 288), (400, 224, 288), (300, 224, None), (100, 64, 96)]
)
def test_images_far_larger_than_the_model_sees_are_to_be_stored_smaller(side, size, stored):
    said = advice(epoch(0.3), experiment(data__image__size=size), Supply(side=side, decoders=4))
    assert (f"set data.reencode={stored}: " in said) == (stored is not None)
    assert ("reencode" in said) == (stored is not None)


def test_what_is_stored_after_such_advice_needs_none_again():
    said = advice(epoch(0.3), experiment(data__image__size=224), Supply(side=288, decoders=4))
    assert "reencode" not in said


def test_cpu_nodes_decode_for_gpus_unless_they_do_already():
    on_gpus = experiment(train__device="gpu")
    assert "train.decode.labels={role: data}" in advice(epoch(0.3), on_gpus, LITTLE)
    placed = changed(on_gpus, train__decode={"labels": {"role": "data"}})
    assert "that train.decode names" in advice(epoch(0.3), placed, LITTLE)
    assert "train.decode" not in advice(epoch(0.3), experiment(), LITTLE)
