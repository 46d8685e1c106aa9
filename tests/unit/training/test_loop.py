"""Training learns, stops when it should, says what went wrong, and an interruption leaves no trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import EPOCH_STEPS, LABELS, PHASES, Run, dense_experiment, experiment, images
from torch import Tensor

from thaw.backbones.weights import digest
from thaw.data.labels import NO_LABEL
from thaw.errors import ConfigError
from thaw.training import checkpoint, loop
from thaw.training.loop import State


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _weights(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.trained.model.state_dict().items()}


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_loss_goes_down_and_the_answers_become_right() -> None:
    run = Run.new(experiment(phases=[{"epochs": 12, "depth": 2, "rates": {"head": 0.02, "backbone": 0.005}}]))
    history = [progress.epoch for progress in run.fit()]
    for task in LABELS:
        assert history[-1].train_loss[task] < 0.3 * history[0].train_loss[task]
        assert history[-1].val_loss[task] < 0.3 * history[0].val_loss[task]
    assert history[-1].metrics["colour"]["accuracy"] == 1.0
    assert history[-1].score == pytest.approx(
        (history[-1].metrics["colour"]["accuracy"] + history[-1].metrics["tags"]["f1_macro"]) / 2
    )


def test_every_epoch_is_told_once_with_its_phase_depth_and_steps() -> None:
    run = Run.new(experiment(phases=PHASES))
    told = [(one.epoch.epoch, one.epoch.phase, one.epoch.depth, one.epoch.step) for one in run.fit()]
    assert told == [(1, 0, 0, 2), (2, 0, 0, 4), (3, 1, 2, 6), (4, 1, 2, 8), (5, 2, 5, 10)]
    assert [epoch.epoch for epoch in run.state.history] == [1, 2, 3, 4, 5]
    assert run.state.step == run.plan.steps == 10


def test_step_losses_are_those_whose_mean_is_the_epochs_loss() -> None:
    run = Run.new(experiment())
    progress = next(run.fit())
    targets = images()["target.colour"].reshape(EPOCH_STEPS, -1)
    counts = torch.as_tensor((targets >= 0).sum(axis=1))
    assert progress.step_losses.shape == (EPOCH_STEPS, len(LABELS))
    mean = (progress.step_losses[:, 0] * counts).sum() / counts.sum()
    assert progress.epoch.train_loss["colour"] == pytest.approx(float(mean), rel=1e-6)


def test_groups_learn_from_their_phase_on_and_not_before() -> None:
    run = Run.new(experiment())
    opens = {name: 1 if name in run.plan.groups[-2:] else 2 for name in run.plan.groups}
    members = {name: list(weights) for name, weights in run.trained.model.group_parameters()}
    before = _weights(run)
    for progress in run.fit():
        now = _weights(run)
        for name, phase in opens.items():
            moved = any(not torch.equal(now[weight], before[weight]) for weight in members[name])
            assert moved == (progress.epoch.phase >= phase), (progress.epoch.epoch, name)


GRADUAL = (
    {"epochs": 1, "depth": 0},
    {"epochs": 4, "depth": 3, "open_every": 1, "schedule": "one_cycle"},
    {"epochs": 1, "depth": 1, "schedule": "step"},
)


@pytest.mark.parametrize(("kind", "phases"), [("adamw", PHASES), ("sgd", PHASES), ("adagrad", GRADUAL)])
def test_a_run_interrupted_after_any_epoch_ends_with_the_very_same_weights(
    kind: str, phases: Any, tmp_path: Path
) -> None:
    chosen = experiment(dropout=0.3, phases=phases, optimizer={"name": kind}, batchnorm="adapt")
    whole = Run.new(chosen)
    told = []
    for progress in whole.fit():
        told.append(progress.epoch)
        folder = tmp_path / str(progress.epoch.epoch)
        folder.mkdir()
        checkpoint.save(folder, whole.trained, whole.state)
    for epoch in told[:-1]:
        resumed = _resumed(chosen, tmp_path / str(epoch.epoch))
        assert resumed.state.step == epoch.step
        rest = [progress.epoch for progress in resumed.fit()]
        assert [one.train_loss for one in rest] == [one.train_loss for one in told[epoch.epoch :]]
        assert _same(_weights(resumed), _weights(whole)), f"resumed after epoch {epoch.epoch}"


def _resumed(chosen: Any, folder: Path) -> Run:
    """Return the run as another process would find it: its own new weights, then the checkpoint."""
    run = Run.new(chosen)
    for weight in run.trained.model.parameters():
        weight.data.add_(1.0)
    run.state = checkpoint.load(folder, run.trained, run.plan, chosen.finetune)
    return run


def test_dropout_in_the_heads_is_drawn_from_seed_and_step() -> None:
    losses = []
    for seed in (1, 1, 2):
        run = Run.new(experiment(dropout=0.3))
        torch.manual_seed(len(losses))
        losses.append(next(run.fit(seed=seed)).epoch.train_loss)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


NEVER_BETTER = {"patience": 1, "min_delta": 5}
LONG = ({"epochs": 4, "depth": 0}, {"epochs": 3, "depth": 1})


def test_a_phase_that_gets_no_better_gives_way_to_the_next() -> None:
    run = Run.new(experiment(phases=LONG, early_stopping=NEVER_BETTER))
    told = [(one.epoch.epoch, one.epoch.phase, one.epoch.step) for one in run.fit()]
    assert told == [(1, 0, 2), (2, 0, 4), (5, 1, 10), (6, 1, 12)]
    assert run.state.step == run.plan.steps


def test_a_run_interrupted_when_a_phase_was_to_end_early_goes_on_with_the_next(tmp_path: Path) -> None:
    chosen = experiment(phases=LONG, early_stopping=NEVER_BETTER)
    whole = Run.new(chosen)
    epochs = []
    for progress in whole.fit():
        epochs.append(progress.epoch.epoch)
        if progress.epoch.epoch == 2:
            checkpoint.save(tmp_path, whole.trained, whole.state)
    resumed = _resumed(chosen, tmp_path)
    assert [progress.epoch.epoch for progress in resumed.fit()] == epochs[2:]
    assert _same(_weights(resumed), _weights(whole))


def test_a_phase_that_is_to_stop_learns_as_one_that_early_stopping_ends(tmp_path: Path) -> None:
    stopped = Run.new(experiment(phases=LONG, early_stopping=NEVER_BETTER))
    list(stopped.fit())
    told = Run.new(experiment(phases=[{**phase, "stop_after": 2} for phase in LONG]))
    for progress in told.fit(validate=lambda: ({}, {})):
        if progress.epoch.epoch == 2:
            checkpoint.save(tmp_path, told.trained, told.state)
    assert [epoch.epoch for epoch in told.state.history] == [1, 2, 5, 6]
    assert _same(_weights(told), _weights(stopped))
    resumed = _resumed(told.experiment, tmp_path)
    assert [progress.epoch.epoch for progress in resumed.fit()] == [5, 6]
    assert _same(_weights(resumed), _weights(told))


def test_groups_that_open_one_by_one_learn_each_from_its_own_epoch_on() -> None:
    run = Run.new(experiment(phases=GRADUAL))
    members = {name: list(weights) for name, weights in run.trained.model.group_parameters()}
    opens = {name: 2 + below for below, name in enumerate(reversed(run.plan.groups))}
    before, told = _weights(run), []
    for progress in run.fit():
        now, epoch = _weights(run), progress.epoch.epoch
        told.append((progress.epoch.phase, progress.epoch.depth))
        for name, first in opens.items():
            moved = any(not torch.equal(now[weight], before[weight]) for weight in members[name])
            assert moved == (epoch >= first and first <= 4), (epoch, name)
    assert told == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 3), (2, 1)]


def test_early_stopping_counts_over_all_openings_of_a_phase_and_ends_it_as_a_whole(tmp_path: Path) -> None:
    phases = [{"epochs": 1}, {"epochs": 8, "depth": "all", "open_every": 1}, {"epochs": 1, "depth": 2}]
    chosen = experiment(phases=phases, early_stopping={"patience": 2, "min_delta": 5})
    whole, told = Run.new(chosen), []
    for progress in whole.fit():
        told.append((progress.epoch.epoch, progress.epoch.phase, progress.epoch.depth))
        if progress.epoch.epoch == 4:
            checkpoint.save(tmp_path, whole.trained, whole.state)
    assert told == [(1, 0, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3), (10, 2, 2)]
    resumed = _resumed(chosen, tmp_path)
    assert [progress.epoch.epoch for progress in resumed.fit()] == [10]
    assert _same(_weights(resumed), _weights(whole))


def test_a_loss_that_is_no_number_ends_the_run_naming_the_phase_to_change() -> None:
    wild = {"epochs": 1, "depth": "all", "rates": {"head": 10, "backbone": 10}, "schedule": "constant", "warmup": 0}
    chosen = experiment(
        phases=[{"epochs": 1}, wild, {"epochs": 9, **{key: wild[key] for key in wild if key != "epochs"}}],
        optimizer={"name": "sgd", "clip_norm": None},
    )
    run = Run.new(chosen)
    with pytest.raises(
        ConfigError, match=r"finetune\.phases\[[12]\]\.rates: the loss is not a finite number"
    ) as caught:
        list(run.fit())
    phase = run.plan.phase_at(run.state.step - 1)
    assert f"finetune.phases[{phase}].rates" in str(caught.value)
    assert "lower these rates" in str(caught.value)


def test_a_finished_run_does_nothing_more() -> None:
    run = Run.new(experiment())
    run.state = State(run.state.optimizer, run.state.weighting, run.plan.steps, [])
    assert list(run.fit()) == []


@pytest.mark.parametrize("clip", [1e-3, None])
def test_the_gradient_is_clipped_as_a_whole_where_asked(clip: float | None) -> None:
    rates = {"head": 1.0}
    phase = {"epochs": 1, "rates": rates, "schedule": "constant", "warmup": 0}
    chosen = experiment(phases=[phase], optimizer={"name": "sgd", "momentum": 0, "weight_decay": 0, "clip_norm": clip})
    run = Run.new(chosen)
    before = _weights(run)
    list(run.fit())
    moved = torch.cat([(value - before[name]).flatten() for name, value in _weights(run).items()])
    assert (float(moved.norm()) <= EPOCH_STEPS * 1e-3 * 1.01) == (clip is not None)


def test_a_task_without_any_label_costs_nothing_and_has_no_figures() -> None:
    run = Run.new(experiment(optimizer={"weight_decay": 0}))

    def batches(start: int, stop: int) -> Any:
        for batch in run.batches(start, stop):
            yield {**batch, "target.tags": batch["target.tags"] * 0 - 1}

    before = run.trained.model.heads["tags"][1].weight.clone()
    progress = next(run.fit(batches=batches))
    assert set(progress.epoch.train_loss) == {"colour"}
    assert torch.equal(before, run.trained.model.heads["tags"][1].weight)


def test_evaluation_changes_nothing_and_equals_a_pass_image_by_image() -> None:
    run = Run.new(experiment())
    run.trained.model.eval()
    before = _weights(run)
    losses, metrics = run.validate()
    single = [{name: values[row : row + 1] for name, values in images().items()} for row in range(16)]
    other_losses, other_metrics = loop.evaluate(run.trained.model, run.trained.tasks, iter(single), run.on)
    assert losses == pytest.approx(other_losses, abs=1e-5)
    assert metrics["colour"] == pytest.approx(other_metrics["colour"], abs=1e-6)
    assert _same(before, _weights(run))


def test_what_stands_where_boxes_are_missing_changes_nothing() -> None:
    found = []
    for seed in (None, 0):
        run = Run.new(dense_experiment())
        for task in ("target.one", "target.two"):
            targets = run.images[task].copy()
            missing = (targets[..., 4] == NO_LABEL).any(axis=1)
            assert missing.any()
            if seed is not None:
                targets[missing, :, :4] = np.random.default_rng(seed).uniform(0, 64, targets[missing, :, :4].shape)
            run.images[task] = targets
        list(run.fit())
        found.append(digest(run.trained.model.state_dict()))
    assert len(set(found)) == 1
