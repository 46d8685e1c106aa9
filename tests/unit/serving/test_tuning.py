"""Faster networks answer nearly as the bundle, and what they change is told."""

import numpy as np
import pytest
import torch

import stored as made
from thaw import golden, predictor
from thaw.config.serving import Serve
from thaw.serving.loaded import Key, Opener
from thaw.serving.tuning import InBf16, plain, tuned


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return made.stored(tmp_path_factory.mktemp("stored"))


def test_by_default_the_bundle_answers_as_it_is(stored):
    assert tuned(stored.bundle, Serve()) is stored.bundle
    assert plain(stored.bundle) is stored.bundle


def test_in_bf16_answers_are_near_but_not_the_same(stored):
    half = tuned(stored.bundle, Serve(precision="bf16", channels_last=True))
    assert isinstance(half, InBf16)
    assert plain(half) is stored.bundle
    off = golden.check(half, stored.folder, 1.0)
    assert 0 < off < 0.2
    [answers] = predictor.answer(half, [made.image(0)])
    assert np.isfinite(list(answers["colour"].scores.values())).all()
    readouts = half.readouts(torch.zeros(1, 3, made.SIZE, made.SIZE, dtype=torch.uint8))
    assert {one.dtype for outputs in readouts.values() for one in outputs.values()} == {torch.float32}


def test_what_it_changes_is_told_when_it_is_loaded(stored, capsys):
    loaded = Opener(stored.root, Serve(precision="bf16", max_batch=1), 1)(Key("colours", 1), [])
    loaded.batcher.close()
    assert "colours/1 differs from what was scored, by 0.0" in capsys.readouterr().err
