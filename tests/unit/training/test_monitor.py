"""What a run leaves to look at is complete, readable by the usual tools, and shows no step twice."""

import csv
import io
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import EPOCH_STEPS, PHASES, Run, experiment

from thaw.storage import open_root
from thaw.training import checkpoint, monitor
from thaw.training.loop import Epoch
from thaw.training.monitor import Monitor, Told


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _epoch(number: int, **changed: object) -> Epoch:
    values = {
        "epoch": number,
        "phase": 1,
        "depth": 2,
        "step": 10 * number,
        "train_loss": {"kind": 0.5, "tags": 0.25},
        "val_loss": {"kind": 0.75},
        "metrics": {"kind": {"accuracy": 0.875, "f1_macro": 0.5}, "tags": {}},
        "score": 0.875,
        "seconds": 2.5,
        "images_per_s": 123.4,
        "waiting": 0.25,
    }
    return Epoch.model_validate(values | changed)


def test_an_epoch_has_one_name_for_every_figure() -> None:
    assert monitor.flat(_epoch(1)) == {
        "train_loss/kind": 0.5,
        "train_loss/tags": 0.25,
        "val_loss/kind": 0.75,
        "val/kind/accuracy": 0.875,
        "val/kind/f1_macro": 0.5,
        "val/score": 0.875,
        "plan/depth": 2,
        "speed/images_per_s": 123.4,
        "speed/waiting": 0.25,
    }


def test_the_table_has_a_line_an_epoch_and_every_figure_that_any_epoch_has() -> None:
    text = monitor.as_csv([_epoch(1, val_loss={}), _epoch(2, metrics={})])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["epoch"], second["epoch"], second["step"]) == ("1", "2", "20")
    assert (first["val_loss/kind"], second["val_loss/kind"]) == ("", "0.75")
    assert (first["val/kind/accuracy"], second["val/kind/accuracy"]) == ("0.875", "")


def test_the_line_of_an_epoch_tells_every_tasks_losses_and_metric() -> None:
    told = monitor.line(_epoch(3), planned=13)
    assert told == (
        "epoch 3/13  phase 2 depth 2  kind loss 0.500/0.750 accuracy 0.875  tags loss 0.250/nan  "
        "123 img/s, 25% waiting, 2.5 s"
    )


def _run_until(run: Run, root_uri: str, epochs: int) -> None:
    """Train and monitor some epochs, and leave without a word, as a killed process does."""
    with Monitor(open_root(root_uri), "runs/one", run.plan, run.state.step) as watch:
        for progress, _ in zip(run.fit(), range(epochs), strict=False):
            watch.tell(progress, run.state.history, run.trained.tasks, Told())


def _events(folder: Path) -> EventAccumulator:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return read


def _steps(read: EventAccumulator, name: str) -> list[int]:
    return [point.step for point in read.Scalars(name)]


def test_events_hold_losses_metrics_and_every_groups_rate_at_its_step(tmp_path: Path) -> None:
    run = Run.new(experiment())
    _run_until(run, str(tmp_path), 5)
    read = _events(tmp_path / "runs/one")
    for task in ("colour", "tags"):
        assert _steps(read, f"step_loss/{task}") == list(range(10))
        assert len(set(_steps(read, f"train_loss/{task}"))) == 5
        points = [point.value for point in read.Scalars(f"train_loss/{task}")]
        assert points == pytest.approx([epoch.train_loss[task] for epoch in run.state.history])
    for group in (*run.plan.groups, "heads"):
        rates = {point.step: point.value for point in read.Scalars(f"rate/{group}")}
        assert rates == pytest.approx({step: run.plan.rates_at(step).get(group, 0.0) for step in range(10)})
    assert {"val/colour/accuracy", "val/tags/f1_macro", "val_loss/colour", "val/score"} <= set(read.Tags()["scalars"])
    table = (tmp_path / "runs/one/metrics.csv").read_text()
    assert table == monitor.as_csv(run.state.history)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four epochs whose third was told, lost in a crash and done again."""
    folder = tmp_path_factory.mktemp("store")
    chosen = experiment(phases=PHASES[:2])
    first = Run.new(chosen)
    saved = folder / "checkpoint"
    saved.mkdir()
    with Monitor(open_root(str(folder)), "runs/one", first.plan, 0) as watch:
        for progress in first.fit():
            watch.tell(progress, first.state.history, first.trained.tasks, Told())
            if progress.epoch.epoch == 2:
                checkpoint.save(saved, first.trained, first.state)
            if progress.epoch.epoch == 3:
                break  # told, but gone before its checkpoint was kept
    second = Run.new(chosen)
    second.state = checkpoint.load(saved, second.trained, second.plan, chosen.finetune)
    assert second.state.step == 2 * EPOCH_STEPS
    _run_until(second, str(folder), 9)
    return folder / "runs/one"


def test_after_a_restart_no_step_is_seen_twice(restarted: Path) -> None:
    for name in ("step_loss/colour", "rate/heads", "rate/layer4.0"):
        assert _steps(_events(restarted), name) == list(range(8))


def test_after_a_restart_every_epoch_has_its_figures_once(restarted: Path) -> None:
    for name in ("train_loss/colour", "val/score", "plan/depth"):
        steps = _steps(_events(restarted), name)
        assert len(set(steps)) == len(steps) == 4
    assert len((restarted / "metrics.csv").read_text().splitlines()) == 1 + 4
