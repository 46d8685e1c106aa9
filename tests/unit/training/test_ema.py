"""The average of the weights follows its formula, is what is validated and saved, and leaves training as it is."""

from pathlib import Path

import pytest
import torch
from tiny_run import RATES, Run, experiment

from thaw import bundle
from thaw.config.experiment import Ema
from thaw.training import checkpoint, loop
from thaw.training.ema import Average

PHASES = ({"epochs": 1, "depth": 0, "rates": RATES}, {"epochs": 1, "depth": 2, "rates": RATES})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_each_step_keeps_the_share_that_is_due() -> None:
    model = Run.new(experiment()).trained.model
    weight = model.heads["colour"][1].weight
    average = Average(model, Ema(decay=0.6))
    expected = 0.0
    for step, share in ((1, 0.0), (2, 1 - 2 ** (-2 / 3)), (3, 1 - 3 ** (-2 / 3)), (4, 0.6), (5, 0.6)):
        weight.data.fill_(float(step))
        average.follow(model, step)
        expected = share * expected + (1 - share) * step
        found = average.model.heads["colour"][1].weight
        assert torch.allclose(found, torch.full_like(found, expected), rtol=1e-6), step


def test_training_goes_on_with_the_weights_themselves_and_frozen_ones_are_the_same_in_both() -> None:
    plain, averaged = Run.new(experiment(phases=PHASES)), Run.new(experiment(phases=PHASES, ema={"decay": 0.9}))
    for run in (plain, averaged):
        list(run.fit())
    mine, other = plain.trained.model.state_dict(), averaged.trained.model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in mine.items())
    served = averaged.state.served(averaged.trained.model).state_dict()
    moved = {name for name, value in served.items() if not torch.equal(value, other[name])}
    open_names = {name for name, weight in averaged.trained.model.named_parameters() if weight.requires_grad}
    assert moved
    assert moved <= open_names
    assert any(name.startswith("backbone.") for name in moved)


def test_the_average_is_what_is_validated_and_what_the_bundle_holds(tmp_path: Path) -> None:
    run = Run.new(experiment(phases=PHASES, ema={"decay": 0.9}))
    [*_, last] = run.fit()
    checkpoint.save(tmp_path, run.trained, run.state)
    saved = bundle.load(tmp_path)
    losses, _ = loop.evaluate(saved.model, saved.tasks, run.batches(0, 2), run.on)
    own, _ = loop.evaluate(run.trained.model.eval(), run.trained.tasks, run.batches(0, 2), run.on)
    assert last.epoch.val_loss == losses != own
