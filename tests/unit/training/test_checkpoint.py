"""A checkpoint is a bundle, runs no code when read, and says where the run stands."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny_run import RATES, Run, adapted, experiment

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


def test_a_checkpoint_says_where_and_how_it_was_trained(run: Run, tmp_path: Path) -> None:
    assert checkpoint.environment(tmp_path) == {}
    run.state.environment = {"device": "a loom", "workers": 2}
    checkpoint.save(tmp_path, run.trained, run.state)
    assert checkpoint.environment(tmp_path) == {"device": "a loom", "workers": 2}


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


TIMES = {"seconds", "images_per_s", "waiting", "waiting_first"}
TWO_PHASES = ({"epochs": 1, "depth": 0, "rates": RATES}, {"epochs": 1, "depth": 2, "rates": RATES})


def _left(run: Run) -> dict[str, Any]:
    """Return all that a run leaves, but times."""
    return {
        "weights": run.trained.model.state_dict(),
        "served": run.state.served(run.trained.model).state_dict(),
        "optimizer": run.state.optimizer.state_dict(),
        "weighting": run.state.weighting.state(),
        "history": [epoch.model_dump(exclude=TIMES) for epoch in run.state.history],
    }


def _same(one: Any, other: Any) -> bool:
    """Return whether nested values are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    "options",
    [
        {"batchnorm": "held", "weighting": {"by": "uncertainty"}},
        {"batchnorm": "adapt", "ema": {"decay": 0.9}},
        {"batchnorm": "adapt", "optimizer": {"name": "sgd"}},
    ],
)
def test_a_run_stopped_after_any_step_is_continued_bit_for_bit(options: dict[str, Any], tmp_path: Path) -> None:
    chosen = experiment(dropout=0.3, phases=TWO_PHASES, **options)
    undisturbed = Run.new(chosen)
    list(undisturbed.fit())
    whole = Run.new(chosen)
    for _ in whole.fit(pause_steps=1):
        folder = tmp_path / str(whole.state.step)
        folder.mkdir()
        checkpoint.save(folder, whole.trained, whole.state)
    assert _same(_left(whole), _left(undisturbed))
    for step in range(1, whole.plan.steps):
        resumed = Run.new(chosen)
        for weight in resumed.trained.model.parameters():
            weight.data.add_(1.0)
        resumed.state = checkpoint.load(tmp_path / str(step), resumed.trained, resumed.plan, chosen.finetune)
        assert resumed.state.step == step
        list(resumed.fit())
        for what, value in _left(resumed).items():
            assert _same(value, _left(whole)[what]), f"{what} after a stop at step {step}"


def test_the_scale_of_fp16_comes_back(tmp_path: Path) -> None:
    made = Run.new(experiment())
    made.state = checkpoint.fresh(made.trained, made.plan, made.experiment.finetune, scaled=True)
    made.state.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    checkpoint.save(tmp_path, made.trained, made.state)
    state = checkpoint.load(tmp_path, made.trained, made.plan, made.experiment.finetune, scaled=True)
    assert state.scaler.get_scale() == 512.0
