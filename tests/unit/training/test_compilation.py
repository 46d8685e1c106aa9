"""A compiled model learns what the model learns, in every phase; a machine without a compiler says so."""

import shutil

import pytest
import torch
from tiny_run import RATES, Run, experiment

from thaw.errors import ConfigError
from thaw.training import compilation

PHASES = ({"epochs": 1, "depth": 0, "rates": RATES}, {"epochs": 1, "depth": 2, "rates": RATES})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_machine_without_a_compiler_is_told_of_by_name(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"train.compile: (g\+\+|gcc) is not on this node's PATH"):
        compilation.check(device)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("default")
def test_a_compiled_model_learns_what_the_model_learns() -> None:
    torch.set_num_threads(1)
    chosen = experiment(phases=PHASES, optimizer={"name": "sgd"})
    plain, compiled = Run.new(chosen), Run.new(chosen)
    list(plain.fit())
    torch._dynamo.utils.counters.clear()
    list(compiled.fit(wrap=compilation.compiled))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= len(PHASES)
    for one, other in zip(plain.state.history, compiled.state.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-4)
        assert other.val_loss == pytest.approx(one.val_loss, abs=1e-4)
    mine, found = plain.trained.model.state_dict(), compiled.trained.model.state_dict()
    assert mine.keys() == found.keys()
    assert all(torch.allclose(value, found[name], atol=1e-4) for name, value in mine.items())
