"""Sweeps on Ray: the best trial is registered, failures stay single, and whatever ends a sweep, it goes on."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import yaml

from thaw.config import load
from thaw.errors import ConfigError
from thaw.registry import record, store
from thaw.storage import open_root
from thaw.tuning import on_ray as tuning
from thaw.tuning import sweep, winner
from thaw.tuning.study import Study
from tiny import EXPERIMENT, changed

SPACE = {
    "name": "tiny",
    "set": {"finetune.phases[0].views": 2},
    "dimensions": {
        "finetune.phases[1].depth": {"int": [0, "all"]},
        "finetune.phases[1].rates.head": {"log": [1e-4, 1e-1]},
    },
    "search": {"by": "random", "trials": 4},
    "scheduler": {"by": "asha", "reduction": 2},
}


def study(**more):
    return Study.model_validate({**SPACE, **more})


@pytest.fixture(scope="module")
def found(experiment, prepared):
    """A sweep that nothing disturbed."""
    return tuning.search(changed(experiment, name="swept"), study(), experiment.storage.root)


def test_the_best_trial_is_registered_as_candidate_and_measured_on_the_test_images(experiment, found):
    root = open_root(experiment.storage.root)
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert {trial.stage for trial in found.trials} <= {"finished", "stopped"}
    assert found.best.best.score == max(trial.best.score for trial in found.trials)
    version = store.resolve(root, f"swept@{winner.CANDIDATE}")
    assert store.lineage(root, version).run_id == found.record.id
    written = record.load(root, found.record.id)
    assert written.environment["sweep"] == found.sweep.id
    assert written.environment["trial"] == found.best.number
    assert written.metrics["val"] == found.best.best.metrics
    assert written.metrics["test"] == found.scores.metrics
    assert found.scores.images == 14


def test_the_experiment_as_written_is_trial_0_and_is_never_stopped(experiment, found):
    first = found.trials[0]
    assert first.values == {}
    assert first.stage == "finished"
    assert len(first.reports) == 4


def test_reports_count_images_and_come_in_order(found):
    for trial in found.trials:
        assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert [report.images for report in trial.reports] == [40 * report.epoch for report in trial.reports]
        times = [report.at_s for report in trial.reports]
        assert times == sorted(times)


def test_the_best_experiment_can_be_trained_as_it_is_written(experiment, found, tmp_path):
    root = open_root(experiment.storage.root)
    path = tmp_path / "best.yaml"
    path.write_bytes(root.read_bytes(found.experiment))
    best = load.load(path)
    for place, value in found.best.values.items():
        *_, name = place.split(".")
        phase = best.finetune.phases[1]
        assert (phase.depth if name == "depth" else phase.rates.head) == value
    assert best.finetune.phases[0].views == 2


def test_tables_and_a_report_are_left_behind(experiment, found):
    root = open_root(experiment.storage.root)
    path = found.sweep.path
    assert {"sweep.json", "best.yaml", "trials.csv", "trials.parquet", "report.html", "tensorboard"} <= set(
        root.list(path)
    )
    rows = list(csv.DictReader(io.StringIO(root.read_bytes(f"{path}/trials.csv").decode())))
    assert len(rows) == 4


def test_only_the_last_and_the_best_checkpoint_of_a_trial_are_kept(experiment, found):
    root = open_root(experiment.storage.root)
    for trial in found.trials:
        kept = root.list(f"{sweep.place_of(found.sweep, trial.number)}/checkpoints")
        assert kept == sorted({f"epoch_{epoch:04d}" for epoch in (trial.best.epoch, trial.reports[-1].epoch)})


def test_a_finished_sweep_that_is_resumed_does_nothing_again(experiment, found):
    root = open_root(experiment.storage.root)
    versions, runs = store.versions(root, "swept"), root.list("runs")
    again = tuning.search(None, None, root.uri, resume=found.sweep.id)
    assert (again.trials, again.best, again.record, again.scores) == (
        found.trials,
        found.best,
        record.load(root, found.record.id),
        found.scores,
    )
    assert store.versions(root, "swept") == versions
    assert root.list("runs") == runs


def test_nothing_that_was_pickled_is_left_in_the_store(experiment, found):
    root = open_root(experiment.storage.root)
    left = root._files_below(found.sweep.path)
    assert left
    assert not [name for name in left if name.endswith((".pkl", ".pickle"))]
    assert not [name for name in left if name.endswith("optimizer.pt")]


def test_a_sweep_goes_on_with_more_trials(experiment, prepared):
    few = study(search={"by": "random", "trials": 1})
    begun = tuning.search(changed(experiment, name="grown"), few, experiment.storage.root)
    more = study(search={"by": "random", "trials": 2})
    grown = tuning.search(None, more, experiment.storage.root, resume=begun.sweep.id)
    assert [trial.number for trial in grown.trials] == [0, 1]
    assert grown.trials[0] == begun.trials[0]


def test_a_trial_that_fails_is_recorded_and_the_others_go_on(experiment, prepared):
    tame = [{"epochs": 1}]
    wild = [{"epochs": 3, "depth": "all", "rates": {"head": 10, "backbone": 10}, "schedule": "constant", "warmup": 0}]
    plans = study(
        set={"finetune.optimizer": {"name": "sgd", "clip_norm": None, "momentum": 0.99}},
        dimensions={"finetune.phases": {"choice": [wild, tame]}},
        search={"by": "grid", "trials": None},
        scheduler={"by": "none"},
    )
    came = tuning.search(changed(experiment, name="wild"), plans, experiment.storage.root)
    assert [trial.stage for trial in came.trials] == ["finished", "failed", "finished"]
    assert "the loss is not a finite number" in came.trials[1].error
    assert came.trials[1].best is None


def test_settings_that_the_prepared_data_follows_from_cannot_be_searched(experiment, prepared):
    other = study(dimensions={"data.split.val": {"float": [0.1, 0.2]}})
    with pytest.raises(ConfigError, match="data cannot be searched"):
        tuning.search(changed(experiment, name="other"), other, experiment.storage.root)


@pytest.mark.slow
def test_trials_of_two_workers_run_ray_train_inside(experiment, prepared):
    both = changed(
        experiment, name="both", train__workers=2, finetune__phases=[{"epochs": 1}, {"epochs": 1, "depth": 2}]
    )
    came = tuning.search(both, study(search={"by": "random", "trials": 2}), experiment.storage.root)
    assert [len(trial.reports) for trial in came.trials if trial.number == 0] == [2]
    assert {trial.stage for trial in came.trials} <= {"finished", "stopped"}
    assert came.scores.images == 14


@pytest.mark.slow
def test_a_refusal_of_two_workers_fails_their_trial(experiment, prepared):
    wild = [{"epochs": 3, "depth": "all", "rates": {"head": 10, "backbone": 10}, "schedule": "constant", "warmup": 0}]
    plans = study(
        set={"finetune.optimizer": {"name": "sgd", "clip_norm": None, "momentum": 0.99}},
        dimensions={"finetune.phases": {"choice": [wild]}},
        search={"by": "grid", "trials": None},
    )
    both = changed(experiment, name="wilder", train__workers=2, finetune__phases=[{"epochs": 1}])
    came = tuning.search(both, plans, experiment.storage.root)
    assert [trial.stage for trial in came.trials] == ["finished", "failed"]
    assert "the loss is not a finite number" in came.trials[1].error


def kill_trials_until(over, killed, wanted):
    """Kill the process of a trial once it has a report, so many times."""
    import psutil

    seen = set()
    while not over.is_set() and len(killed) < wanted:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ImplicitFunc" in " ".join(process.cmdline()) and process.pid not in seen:
                    seen.add(process.pid)
                    time.sleep(2)
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_trial_goes_on_and_the_sweep_ends_as_undisturbed(experiment, prepared):
    one = study(budget={"concurrent": 1, "max_failures": 2})
    undisturbed = tuning.search(changed(experiment, name="calm"), one, experiment.storage.root)
    over, killed = threading.Event(), []
    killer = threading.Thread(target=kill_trials_until, args=(over, killed, 1), daemon=True)
    killer.start()
    disturbed = tuning.search(changed(experiment, name="shaken"), one, experiment.storage.root)
    over.set()
    killer.join(timeout=10)
    assert killed
    assert scores(disturbed.trials) == scores(undisturbed.trials)
    assert disturbed.best.number == undisturbed.best.number


def scores(trials):
    return {trial.number: [report.score for report in trial.reports] for trial in trials}


def command(folder, *arguments):
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from thaw import cli; sys.exit(cli.run())", "tune", *arguments, "--json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_after_the_driver_and_its_cluster_are_killed_the_sweep_ends_as_undisturbed(tmp_path):
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({**SPACE, "budget": {"concurrent": 1}}))
    begin = ("experiment.yaml", "--space", "space.yaml")
    calm = command(tmp_path, *begin, "--storage", str(tmp_path / "calm"))
    told, said = calm.communicate(timeout=300)
    assert calm.returncode == 0, said
    wanted = json.loads(told)

    shaken = command(tmp_path, *begin, "--storage", str(tmp_path / "shaken"))
    root = open_root(str(tmp_path / "shaken"))
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and len(reports(root)) < 6:
        time.sleep(0.1)
    os.killpg(shaken.pid, signal.SIGKILL)  # the driver, and all of Ray that it started
    shaken.communicate()
    before = reports(root)
    assert 6 <= len(before) < sum(len(one["reports"]) for one in wanted["trials"])

    [name] = root.list("sweeps")
    again = command(tmp_path, "--resume", name, "--storage", str(tmp_path / "shaken"))
    told, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    came = json.loads(told)
    assert came["best"] == wanted["best"]
    assert [one["stage"] for one in came["trials"]] == [one["stage"] for one in wanted["trials"]]
    for one, other in zip(came["trials"], wanted["trials"], strict=True):
        assert [report["score"] for report in one["reports"]] == [report["score"] for report in other["reports"]]
    after = reports(root)
    assert after[: len(before)] == before or set(before) <= set(after)  # nothing that was known was trained again
    assert came["scores"]["metrics"] == wanted["scores"]["metrics"]


def reports(root):
    """Return trial, epoch and time of every epoch that is written down."""
    found = []
    for name in root.list("sweeps"):
        for number in root.list(f"sweeps/{name}/trials"):
            place = f"sweeps/{name}/trials/{number}/trial.json"
            if root.exists(place):
                kept = root.read_json(place)
                found += [(kept["number"], report["epoch"], report["at_s"]) for report in kept["reports"]]
    return found
