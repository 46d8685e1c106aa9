"""What a worker of Ray Train came to crosses to its driver as plain values."""

import json

import pytest

from thaw.errors import ConfigError
from thaw.training.diagnosis import Diagnosis
from thaw.training.run import Trained
from thaw.training.state import Epoch
from thaw.training.work import on_ray as working

FIGURES = {"train_loss": {"kind": 0.5}, "val_loss": {"kind": 0.75}, "metrics": {"kind": {"accuracy": 1 / 3}}}
EPOCH = Epoch(epoch=1, phase=0, depth=2, step=4, score=0.5, seconds=1.0, images_per_s=3.0, waiting=0.25, **FIGURES)
DIAGNOSIS = Diagnosis(task="kind", kind="underfitting", since_epoch=1, evidence="accuracy 0.33", action="open more")


def test_what_workers_came_to_crosses_as_plain_values_and_comes_back() -> None:
    trained = Trained([EPOCH], {"source": "none"}, {"device": "cpu", "workers": 2}, [DIAGNOSIS])
    told = json.loads(json.dumps({"trained": working._TRAINED.dump_python(trained)}))
    assert working.outcome(told) == trained


def test_what_workers_refuse_is_for_the_user_to_mend() -> None:
    with pytest.raises(ConfigError, match="lower the rates"):
        working.outcome({"refused": "lower the rates"})
