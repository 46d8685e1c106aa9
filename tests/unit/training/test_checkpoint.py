"""A checkpoint is a bundle, runs no code when read, and says where the run stands."""

from itertools import islice
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_run import Run, adapted, experiment

from thaw import bundle
from thaw.config.experiment import Experiment
from thaw.errors import ModelError
from thaw.model import FinetuneModel
from thaw.training import checkpoint


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run stopped at the border of its first phase, saved in the folder."""
    made = Run.new(experiment())
    list(islice(made.fit(), 2))
    checkpoint.save(tmp_path, made.trained, made.state)
    return made


def test_a_fresh_state_has_done_nothing_and_holds_what_the_first_phase_opens() -> None:
    made = Run.new(experiment(phases=[{"epochs": 1, "depth": 2}]))
    state = checkpoint.fresh(made.trained, made.plan, made.experiment.finetune)
    assert (state.step, state.history) == (0, [])
    held = {id(weight) for group in state.optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in made.trained.model.parameters() if weight.requires_grad}
    assert made.trained.model.depth == 2


def test_a_checkpoint_is_a_bundle_that_answers_with_the_same_weights(run: Run, tmp_path: Path) -> None:
    loaded = bundle.load(tmp_path)
    mine = run.trained.model.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in loaded.model.state_dict().items())


def test_what_is_no_part_of_the_bundle_is_known_by_name(run: Run, tmp_path: Path) -> None:
    files = {file.name for file in tmp_path.iterdir()}
    assert files - set(checkpoint.TRAINING_ONLY) == {bundle.DESCRIPTION, bundle.WEIGHTS}
    assert set(checkpoint.TRAINING_ONLY) < files


def test_the_optimizer_file_is_read_without_running_code(run: Run, tmp_path: Path) -> None:
    saved = torch.load(tmp_path / checkpoint.OPTIMIZER, weights_only=True)["optimizer"]
    assert saved["state"]
    assert len(saved["param_groups"]) == len(run.state.optimizer.param_groups)


def test_step_history_and_moments_come_back(run: Run, tmp_path: Path) -> None:
    other = Run.new(experiment())
    state = checkpoint.load(tmp_path, other.trained, other.plan, other.experiment.finetune)
    assert state.step == run.state.step == 4
    assert state.history == run.state.history
    mine, found = run.state.optimizer.state_dict(), state.optimizer.state_dict()
    assert mine["param_groups"] == found["param_groups"]
    for place, kept in mine["state"].items():
        assert all(torch.equal(value, found["state"][place][key]) for key, value in kept.items())


@pytest.fixture
def with_adapters(tmp_path: Path) -> Experiment:
    """A fine-tuning of adapters on random weights in a file, over three depths."""
    return adapted(experiment(dropout=0.2), tmp_path / "base.safetensors", {"rank": 2, "dropout": 0.1})


@pytest.mark.parametrize("stopped", [2, 3])
def test_a_run_with_adapters_resumed_anywhere_ends_with_the_same_bits(
    with_adapters: Experiment, stopped: int, tmp_path: Path
) -> None:
    whole, first, then = (Run.new(with_adapters) for _ in range(3))
    list(whole.fit())
    list(islice(first.fit(), stopped))
    checkpoint.save(tmp_path, first.trained, first.state)
    then.state = checkpoint.load(tmp_path, then.trained, then.plan, with_adapters.finetune)
    list(then.fit())
    mine, found = whole.trained.model.state_dict(), then.trained.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in mine.items())
    fresh = Run.new(with_adapters).trained.model
    assert all(torch.equal(value, mine[name]) for name, value in fresh.state_dict().items() if name in _beneath(fresh))


def _beneath(model: FinetuneModel) -> set[str]:
    return set(model.state_dict()) - set(model.own_state())


def test_a_checkpoint_of_adapters_holds_nothing_of_what_is_beneath_them(
    with_adapters: Experiment, tmp_path: Path
) -> None:
    made = Run.new(with_adapters)
    list(made.fit())
    checkpoint.save(tmp_path, made.trained, made.state)
    saved = safetensors.torch.load_file(tmp_path / bundle.WEIGHTS)
    assert not _beneath(made.trained.model) & set(saved)
    kept = torch.load(tmp_path / checkpoint.OPTIMIZER, weights_only=True)["optimizer"]
    assert len(kept["state"]) == sum(weight.requires_grad for weight in made.trained.model.parameters())


def test_adapters_are_not_resumed_on_other_weights(with_adapters: Experiment, tmp_path: Path) -> None:
    made = Run.new(with_adapters)
    list(islice(made.fit(), 1))
    checkpoint.save(tmp_path, made.trained, made.state)
    other = Run.new(adapted(experiment(), tmp_path / "other.safetensors", {"rank": 2}, seed=1))
    with pytest.raises(ModelError, match="its adapters belong to weights of test_resnet with SHA-256"):
        checkpoint.load(tmp_path, other.trained, other.plan, with_adapters.finetune)
