"""What a run leaves to look at is complete, readable by the usual tools, and shows no step twice."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import EPOCH_STEPS, PHASES, Run, dense_experiment, experiment

from thaw.storage import open_root
from thaw.training import checkpoint, loop, monitor, pictures
from thaw.training.diagnosis import Diagnosis
from thaw.training.loop import Epoch
from thaw.training.monitor import Monitor, Told
from thaw.training.validation import Validation


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
        "epoch 3/13  phase 2 depth 2  kind loss 0.500/0.750 accuracy 0.875  tags loss 0.250  "
        "123 img/s, 25% waiting, 2.5 s"
    )


def test_without_validation_figures_are_of_training_alone() -> None:
    alone = _epoch(3, val_loss={}, metrics={}, score=0.0, train_metrics={"kind": {"accuracy": 0.99}})
    assert monitor.line(alone, planned=13) == (
        "epoch 3/13  phase 2 depth 2  kind loss 0.500 accuracy 0.990  tags loss 0.250  123 img/s, 25% waiting, 2.5 s"
    )
    assert not [name for name in monitor.flat(alone) if name.startswith("val")]


def test_the_line_shows_a_metric_of_training_beside_that_of_validation() -> None:
    told = monitor.line(_epoch(3, train_metrics={"kind": {"accuracy": 0.99}}), planned=13)
    assert "kind loss 0.500/0.750 accuracy 0.990/0.875  tags" in told


def test_figures_of_training_images_have_names_of_their_own() -> None:
    found = monitor.flat(_epoch(1, train_metrics={"kind": {"accuracy": 0.99}}, plain_loss={"kind": 0.125}))
    assert found["train/kind/accuracy"] == 0.99
    assert found["plain_loss/kind"] == 0.125


def test_settings_are_plain_values_by_dotted_names() -> None:
    found = monitor.settings(experiment())
    assert found["finetune.phases.1.depth"] == 2
    assert found["data.augment.zoom.0"] == 0.9
    assert not [name for name in found if name.startswith(("storage", "cluster", "serve", "track"))]


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


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    """The events of a run of all kinds of heads whose second epoch is worse than its first."""
    folder = tmp_path_factory.mktemp("store")
    run = Run.new(dense_experiment(without=("two",)))
    few = {name: values[:3] for name, values in run.images.items()}
    validation = Validation(run.trained, lambda: run.batches(0, EPOCH_STEPS), [few], run.on)
    said = Diagnosis(task="colour", kind="plateau", since_epoch=1, evidence="seen", action="raise it")
    with Monitor(open_root(str(folder)), "runs/one", run.plan, 0) as watch:
        watch.begin(run.experiment)
        for progress in run.fit(validate=validation):
            better = progress.epoch.model_copy(update={"score": -float(progress.epoch.epoch)})
            run.state.history[-1] = better
            watch.tell(
                loop.Progress(better, progress.step_losses),
                run.state.history,
                run.trained.tasks,
                Told([said], validation.seen),
            )
    assert len(run.state.history) == 2
    return _events(folder / "runs/one")


def test_the_best_epochs_answers_and_confusion_are_drawn_and_others_are_not(shown: EventAccumulator) -> None:
    drawn = shown.Tags()["images"]
    assert drawn == ["answers/0", "answers/1", "answers/2", "confusion/colour", "confusion/paint"]
    for name in drawn:
        [one] = shown.Images(name)
        picture = Image.open(io.BytesIO(one.encoded_image_string))
        assert picture.size == (one.width, one.height)
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 20


def test_precision_over_recall_is_drawn_for_the_classes_of_whole_images(shown: EventAccumulator) -> None:
    curves = [name for name in shown.Tags()["tensors"] if name.startswith("colour/")]
    assert sorted(curves) == ["colour/blue", "colour/green", "colour/red"]


def test_what_was_asked_for_and_what_is_said_of_it_can_be_read(shown: EventAccumulator) -> None:
    [asked] = shown.Tensors("experiment/text_summary")
    assert b"    name: dense" in asked.tensor_proto.string_val[0]
    told = shown.Tensors("diagnosis/colour/text_summary")
    assert [one.tensor_proto.string_val[0] for one in told] == [b"colour: plateau since epoch 1: seen; raise it"] * 2
    assert "_hparams_/session_start_info" in shown.summary_metadata


def test_the_most_frequent_mistakes_come_first() -> None:
    table = pictures.mistaken(("a", "b", "c"), [[8, 2, 0], [5, 5, 0], [0, 0, 3]])
    assert table.splitlines()[2:] == ["| b | a | 5 | 50% |", "| a | b | 2 | 20% |"]


def test_a_confusion_matrix_of_many_classes_still_fits() -> None:
    names = [f"class {place}" for place in range(200)]
    assert pictures.confusion(names, np.eye(200, dtype=int).tolist()).size == (800, 800)
