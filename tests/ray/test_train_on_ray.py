"""Training on Ray: the number of workers and the death of one change nothing; what cannot work is refused."""

import csv
import io
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ray.train.v2.api.exceptions import ControllerError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thaw.errors import ClusterError, ConfigError
from thaw.registry import record, store
from thaw.storage import open_root
from thaw.training import on_ray as training
from thaw.training import run
from tiny import changed

PLAIN = {"hflip": 0, "rotate": 0, "shift": 0, "zoom": [1, 1], "brightness": 0, "contrast": 0, "saturation": 0}


@pytest.fixture(scope="module")
def plain(experiment):
    """Without augmentation and dropout, whose random numbers are drawn by each worker."""
    return changed(experiment, data__augment=PLAIN, model__dropout=0.0)


@pytest.fixture(scope="module")
def one_worker(plain, prepared):
    return training.train(plain, prepared)


def curve(experiment, run):
    """Return the rows of metrics.csv."""
    text = open_root(experiment.storage.root).read_bytes(f"runs/{run.id}/metrics.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def figures(rows, kinds):
    return [{name: float(value) for name, value in row.items() if name.startswith(kinds)} for row in rows]


def test_a_run_leaves_what_a_person_needs(plain, prepared, one_worker):
    root = open_root(plain.storage.root)
    assert one_worker.stage == "trained"
    assert record.load(root, one_worker.id) == one_worker
    assert one_worker.dataset == prepared.path
    assert one_worker.epochs_run == len(curve(plain, one_worker)) == 4
    assert {"experiment.yaml", "record.json", "report.html", "metrics.csv", "checkpoints"} <= set(
        root.list(f"runs/{one_worker.id}")
    )
    version = store.resolve(root, one_worker.bundle.removeprefix("models/"))
    assert store.lineage(root, version).run_id == one_worker.id
    assert set(root.list(version.path)) >= {"bundle.json", "golden.parquet", "model.safetensors", "lineage.json"}
    assert "optimizer.pt" not in root.list(version.path)


def test_tensorboard_shows_losses_metrics_and_the_rate_of_every_group(plain, one_worker):
    events = EventAccumulator(open_root(plain.storage.root).path_of(f"runs/{one_worker.id}")).Reload()
    names = set(events.Tags()["scalars"])
    assert {"train_loss/verdict", "val_loss/layout", "val/verdict/accuracy", "val/score"} <= names
    rates = {name for name in names if name.startswith("rate/")}
    assert rates == {"rate/heads", "rate/conv_stem", *(f"rate/blocks.{block}" for block in range(5))}
    opened = [event.value > 0 for event in events.Scalars("rate/blocks.4")]
    assert not opened[0]
    assert any(opened)
    assert not any(event.value for event in events.Scalars("rate/conv_stem"))


def test_two_workers_learn_exactly_as_one_does(plain, prepared, one_worker):
    # That their weights are the same bit for bit after every phase is checked by the loop itself, in every run.
    both = training.train(changed(plain, train__workers=2), prepared)
    kinds = ("train_loss", "val_loss")
    for one, two in zip(figures(curve(plain, one_worker), kinds), figures(curve(plain, both), kinds), strict=True):
        assert two == pytest.approx(one, abs=1e-3)


def kill_a_worker_in_the_second_phase(experiment, killed):
    """Kill the training process once the opened phase has its first epoch behind it."""
    runs = Path(experiment.storage.root) / "runs"
    while not killed:
        for metrics in runs.glob("killed-*/metrics.csv"):
            rows = list(csv.DictReader(io.StringIO(metrics.read_text())))
            if rows and rows[-1]["phase"] == "1":
                time.sleep(0.3)  # into the next epoch
                killed.extend(training_processes())
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.02)


def training_processes():
    """Return the pids of the training workers below this process's own Ray."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # Ray ends idle processes at any time
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(experiment, prepared):
    phases = [{"epochs": 1, "depth": 0}, {"epochs": 5, "depth": 3}]
    longer = changed(experiment, finetune__phases=phases, finetune__ema={"decay": 0.9})
    undisturbed = training.train(longer, prepared)
    disturbed = changed(longer, name="killed", train__checkpoint_steps=2)
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker_in_the_second_phase, args=(disturbed, killed), daemon=True)
    killer.start()
    run = training.train(disturbed, prepared)
    killer.join(timeout=5)
    assert killed
    assert run.metrics == undisturbed.metrics
    kinds = ("train_loss", "val_loss", "val/")
    assert figures(curve(disturbed, run), kinds) == figures(curve(longer, undisturbed), kinds)
    kept = open_root(experiment.storage.root).list(f"runs/{run.id}/checkpoints")
    assert not [name for name in kept if name.startswith("step_")]
    assert "epoch_0006" in kept


def test_a_changed_experiment_does_not_continue_a_run(plain, one_worker):
    with pytest.raises(ConfigError, match=r"train.batch: 8 when begun, 4 now"):
        training.train(changed(plain, train__batch=4), resume=one_worker.id)


def test_a_run_is_continued_from_its_last_checkpoint_by_its_id(plain, one_worker):
    root = open_root(plain.storage.root)
    unfinished = one_worker.model_copy(update={"bundle": None, "stage": "failed"})
    record.save(root, unfinished)  # as if the driver had died before it could register the best checkpoint
    again = training.train(run.resumed(root, one_worker.id), resume=one_worker.id)
    assert again.id == one_worker.id
    assert again.metrics == one_worker.metrics
    assert again.epochs_run == one_worker.epochs_run
    assert again.stage == "trained"


def test_resuming_a_complete_run_does_nothing_again(plain, one_worker):
    root = open_root(plain.storage.root)
    complete = record.load(root, one_worker.id)
    versions = store.versions(root, "tiny")
    assert training.train(plain, resume=one_worker.id) == complete
    assert store.versions(root, "tiny") == versions


def test_a_plan_deeper_than_the_backbone_is_refused_before_training(experiment, prepared):
    deep = changed(experiment, finetune__phases=[{"epochs": 1, "depth": 12}])
    with pytest.raises(ConfigError, match=r"phases\[0\].depth: 12 groups cannot be opened; test_efficientnet has 6"):
        training.train(deep, prepared)


def test_more_workers_than_the_cluster_can_hold_are_refused_instead_of_waiting_for_ever(experiment, prepared):
    with pytest.raises(ClusterError, match="lower train.workers"):
        training.train(changed(experiment, train__workers=4, train__cpus_per_worker=8), prepared)


def test_gpus_that_are_not_there_are_refused(experiment, prepared):
    with pytest.raises(ClusterError, match="0 GPUs on 1 node.*no room for 0.5 CPUs and 1 GPU"):
        training.train(changed(experiment, train__device="gpu"), prepared)


@pytest.mark.slow
def test_a_loss_that_explodes_is_told_without_being_tried_again(experiment, prepared):
    wild = [{"epochs": 3, "depth": "all", "rates": {"head": 10, "backbone": 10}, "schedule": "constant", "warmup": 0}]
    optimizer = {"name": "sgd", "clip_norm": None, "momentum": 0.99}
    explosive = changed(experiment, name="wild", finetune__phases=wild, finetune__optimizer=optimizer)
    with pytest.raises(ConfigError, match=r"finetune.phases\[0\].rates: the loss is not a finite number"):
        training.train(explosive, prepared)
    runs = record.runs(open_root(experiment.storage.root)).records
    assert [run.stage for run in runs if run.id.startswith("wild-")] == ["failed"]


def test_workers_that_do_not_reach_each_other_are_for_the_user_to_mend():
    said = "Gloo connectFullMesh failed with timed out connecting: Connection refused, remote=[127.0.0.1]:43905"
    found = training._refusal_in(ControllerError(RuntimeError(said)))
    assert isinstance(found, ClusterError)
    assert "GLOO_SOCKET_IFNAME" in str(found)
    by_chance = said.replace("127.0.0.1", "10.0.0.7")  # the other one's process may have been killed
    assert training._refusal_in(ControllerError(RuntimeError(by_chance))) is None
