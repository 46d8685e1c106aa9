"""A step is the same in however many pieces it is computed, and one whose gradients overflow moves nothing."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import EPOCH_STEPS, RATES, Run, experiment

from thaw.errors import ConfigError
from thaw.tasks.contract import Task
from thaw.training import checkpoint, loop, step
from thaw.training.loop import Device

PHASES = ({"epochs": 1, "depth": 0, "rates": RATES}, {"epochs": 1, "depth": 2, "rates": RATES})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _trained(chosen: Any, pieces: int, **on: Any) -> Run:
    run = Run.new(chosen)
    run.on = Device(torch.device("cpu"), on.get("autocast"), pieces=pieces)
    list(run.fit())
    return run


def _largest_difference(one: Run, other: Run) -> float:
    pairs = zip(one.trained.model.parameters(), other.trained.model.parameters(), strict=True)
    return max(float((first - second).detach().abs().max()) for first, second in pairs)


@pytest.mark.parametrize(("by", "numbers"), [("fixed", (2, 4)), ("uncertainty", (3,))])
def test_a_batch_in_pieces_teaches_what_it_teaches_whole(by: str, numbers: tuple[int, ...]) -> None:
    # Labels are missing unevenly, and 3 pieces of 8 images are of 2, 3 and 3.
    chosen = experiment(phases=PHASES, optimizer={"name": "sgd"}, weighting={"by": by})
    whole = _trained(chosen, 1)
    for pieces in numbers:
        cut = _trained(chosen, pieces)
        assert _largest_difference(cut, whole) < 2e-6
        for one, other in zip(cut.state.history, whole.state.history, strict=True):
            assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert torch.allclose(cut.state.weighting.weights, whole.state.weighting.weights, atol=1e-6)


@pytest.mark.parametrize(("images", "pieces", "lengths"), [(8, 3, [2, 3, 3]), (5, 4, [1, 1, 1, 2]), (2, 4, [1, 1])])
def test_pieces_are_the_batch_in_order(images: int, pieces: int, lengths: list[int]) -> None:
    batch = {"pixels": np.arange(images * 2).reshape(images, 2), "target.x": np.arange(images)}
    found = step.cut(batch, pieces)
    assert [len(piece["target.x"]) for piece in found] == lengths
    for name, values in batch.items():
        assert np.array_equal(np.concatenate([piece[name] for piece in found]), values)


def test_what_is_random_differs_between_pieces_steps_and_workers_and_not_between_runs() -> None:
    seeds = [step.derived_seed(*one) for one in ((1, 2, 0, 0), (1, 2, 0, 1), (1, 2, 1, 0), (1, 3, 0, 0), (2, 2, 0, 0))]
    assert len(set(seeds)) == len(seeds)
    assert step.derived_seed(1, 2, 0) == seeds[0]


def test_gradients_are_shared_with_the_last_piece_alone() -> None:
    class Wrapped(torch.nn.Module):
        """Tells of the passes that it is called for, as DistributedDataParallel would average them or not."""

        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model, self.shares, self.passes = model, True, []

        def no_sync(self) -> Any:
            from contextlib import contextmanager

            @contextmanager
            def context() -> Any:
                self.shares = False
                yield
                self.shares = True

            return context()

        def forward(self, *inputs: Any) -> Any:
            self.passes.append(self.shares)
            return self.model(*inputs)

    run, wrapped = Run.new(experiment(phases=PHASES[:1])), []
    run.on = Device(torch.device("cpu"), None, pieces=3)
    list(run.fit(wrap=lambda model: wrapped.append(Wrapped(model)) or wrapped[0]))
    assert wrapped[0].passes == [False, False, True] * EPOCH_STEPS


def _in_fp16(scale: float) -> Run:
    run = Run.new(experiment(phases=PHASES))
    run.on = Device(torch.device("cpu"), torch.float16)
    run.state = checkpoint.fresh(run.trained, run.plan, run.experiment.finetune, scaled=True)
    run.state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return run


def test_fp16_learns_what_fp32_learns() -> None:
    # sgd, because steps of adamw are as large for gradients that are mere rounding
    chosen = experiment(phases=PHASES, optimizer={"name": "sgd"})
    exact, near = _trained(chosen, 1), Run.new(chosen)
    near.on = Device(torch.device("cpu"), torch.float16)
    near.state = checkpoint.fresh(near.trained, near.plan, chosen.finetune, scaled=True)
    near.state.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    list(near.fit())
    assert 0 < _largest_difference(exact, near) < 0.01
    assert near.state.history[-1].train_loss == pytest.approx(exact.state.history[-1].train_loss, rel=0.02)


def test_a_step_that_overflows_in_fp16_moves_nothing_and_is_no_failure() -> None:
    run = _in_fp16(2.0**40)
    before = {name: value.clone() for name, value in run.trained.model.state_dict().items()}
    first = next(run.fit())
    assert run.state.scaler.get_scale() == 2.0 ** (40 - EPOCH_STEPS)
    assert all(torch.equal(value, before[name]) for name, value in run.trained.model.state_dict().items())
    assert all(np.isfinite(list(first.epoch.train_loss.values())))


def test_an_epoch_whose_every_loss_overflows_in_fp16_ends_the_run() -> None:
    run = _in_fp16(64.0)
    run.trained.model.heads["colour"][1].bias.data[0] = float("inf")
    with pytest.raises(ConfigError, match="the loss is not a finite number after step 2"):
        next(run.fit())


def test_losses_that_overflow_in_some_steps_of_fp16_are_left_out_of_the_mean() -> None:
    run = _in_fp16(64.0)
    trainer = step.Trainer(
        run.trained.model,
        run.trained.model,
        run.trained.tasks,
        run.plan,
        run.experiment.finetune,
        run.state,
        run.on,
        seed=1,
    )
    means = torch.tensor([[1.0, 2.0], [float("inf"), 4.0], [3.0, float("nan")]])
    counts = torch.tensor([[1, 1], [1, 1], [3, 0]])
    found = trainer.mean_loss(means, counts, step=3)
    assert found == {"colour": 2.5, "tags": 3.0}


def test_every_task_says_which_images_have_a_label(tasks_and_targets: list[tuple[Task, Any]]) -> None:
    for task, targets in tasks_and_targets:
        has = task.labelled(torch.as_tensor(targets)).tolist()
        assert has == [one is not None for one in task.labels.annotations(targets)]
        assert True in has
        assert False in has


@pytest.fixture
def tasks_and_targets() -> list[tuple[Task, Any]]:
    """Every kind of task with targets of which some are missing."""
    from tiny_run import dense_experiment

    found = []
    for chosen in (experiment(), dense_experiment(without=("colour",))):
        run = Run.new(chosen)
        found += [(task, run.images[f"target.{name}"]) for name, task in run.trained.tasks.items()]
    return found


def test_pauses_come_inside_epochs_and_change_nothing() -> None:
    run, other = Run.new(experiment(phases=PHASES)), Run.new(experiment(phases=PHASES))
    told = [type(one).__name__ + str(getattr(one, "step", "")) for one in run.fit(pause_steps=3)]
    assert told == ["Progress", "Pause3", "Progress"]
    list(other.fit())
    assert _largest_difference(run, other) == 0
    assert isinstance(next(other.fit(), None), loop.Progress | None)
