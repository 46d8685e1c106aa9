"""Sweeps on Ray: the best trial is registered, failures stay single, and whatever ends a sweep, it goes on."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import local
from thaw.config import load
from thaw.errors import ConfigError, DataError
from thaw.evaluation import on_ray as evaluation
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
    assert (written.environment["precision"], written.environment["workers"]) == ("fp32", 1)
    assert " x " in written.environment["device"]
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
    left = root.files_below(found.sweep.path)
    assert left
    assert not [name for name in left if name.endswith((".pkl", ".pickle"))]
    assert not [name for name in left if name.endswith("optimizer.pt")]


@pytest.mark.slow
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


def kill_trials_until(over, killed, wanted, root):
    """Kill the process of a trial once it has a report, so many times; note for each how long the next one took."""
    import psutil

    seen = set()
    while not over.is_set() and len(killed) < wanted:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ImplicitFunc" in " ".join(process.cmdline()) and process.pid not in seen:
                    seen.add(process.pid)
                    time.sleep(2)
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(seconds_to_next_report(root, time.monotonic()))
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_trial_goes_on_and_the_sweep_ends_as_undisturbed(experiment, prepared, told):
    one = study(budget={"concurrent": 1, "max_failures": 2})
    undisturbed = tuning.search(changed(experiment, name="calm"), one, experiment.storage.root)
    over, killed = threading.Event(), []
    shaken = changed(experiment, name="shaken", storage__root=f"{experiment.storage.root}/shaken")
    killing = (over, killed, 1, open_root(shaken.storage.root))
    killer = threading.Thread(target=kill_trials_until, args=killing, daemon=True)
    killer.start()
    disturbed = tuning.search(shaken, one, shaken.storage.root)
    over.set()
    killer.join(timeout=10)
    told("trial", killed[0])
    assert scores(disturbed.trials) == scores(undisturbed.trials)
    assert disturbed.best.number == undisturbed.best.number


@pytest.fixture
def told(record_property, capsys):
    """Tells how long a sweep took, after something of it was killed, to the next report of an epoch."""

    def tell(killed, seconds):
        record_property(f"seconds_from_killed_{killed}_to_next_report", round(seconds, 1))
        with capsys.disabled():
            print(f"\nkilled {killed}: {seconds:.1f} s to the next report of an epoch")

    return tell


def seconds_to_next_report(root, since):
    """Return how long after a moment something is reported that is not known yet."""
    settle()
    known = set(reports(root))
    wait_until(lambda: set(reports(root)) - known)
    return time.monotonic() - since


def settle():
    """Let what was under way when something was killed be written down."""
    time.sleep(0.5)


def wait_until(happens, seconds=500):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
    return found


def scores(trials):
    return {trial.number: [report.score for report in trial.reports] for trial in trials}


def command(folder, *arguments, **environment):
    paths = os.pathsep.join(path for path in sys.path if path)
    begun = subprocess.Popen(
        [sys.executable, "-c", "import sys; from thaw import cli; sys.exit(cli.run())", "tune", *arguments, "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _BEGUN.append(begun)
    return begun


_BEGUN = []


@pytest.fixture(autouse=True)
def _none_is_left():
    """Ends what a test that failed has left behind."""
    yield
    while _BEGUN:
        with _BEGUN.pop() as left:
            if left.poll() is None:
                os.killpg(left.pid, signal.SIGKILL)


def ended(process):
    """Return what a sweep printed, once it has ended well."""
    found, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return json.loads(found)


def assert_alike(came, wanted):
    """Every epoch of every trial of two sweeps came to the same, and so did the best one's model."""
    assert came["best"] == wanted["best"]
    assert [one["stage"] for one in came["trials"]] == [one["stage"] for one in wanted["trials"]]
    for one, other in zip(came["trials"], wanted["trials"], strict=True):
        assert [report["score"] for report in one["reports"]] == [report["score"] for report in other["reports"]]
    assert came["scores"]["metrics"] == wanted["scores"]["metrics"]


BEGIN = ("experiment.yaml", "--space", "space.yaml")


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A folder with an experiment and a space, and what its sweep comes to when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    (folder / "space.yaml").write_text(yaml.safe_dump({**SPACE, "budget": {"concurrent": 1}}))
    return folder, ended(command(folder, *BEGIN, "--storage", str(folder / "calm")))


@pytest.mark.slow
def test_after_the_driver_and_its_cluster_are_killed_the_sweep_ends_as_undisturbed(calm, told):
    folder, wanted = calm
    shaken = command(folder, *BEGIN, "--storage", str(folder / "shaken"))
    root = open_root(str(folder / "shaken"))
    wait_until(lambda: len(reports(root)) >= 6)
    os.killpg(shaken.pid, signal.SIGKILL)  # the driver, and all of Ray that it started
    shaken.communicate()
    before = reports(root)
    assert 6 <= len(before) < sum(len(one["reports"]) for one in wanted["trials"])

    [name] = root.list("sweeps")
    again = command(folder, "--resume", name, "--storage", str(folder / "shaken"))
    told("everything", seconds_to_next_report(root, time.monotonic()))
    assert_alike(ended(again), wanted)
    assert set(before) <= set(reports(root))  # nothing that was known was trained again


@pytest.mark.slow
def test_a_sweep_that_can_no_longer_be_written_down_ends_with_what_to_do_and_goes_on(calm):
    folder, wanted = calm
    refused = command(folder, *BEGIN, "--storage", str(folder / "refused"))
    root = open_root(str(folder / "refused"))
    wait_until(lambda: len(reports(root)) >= 1)
    [name] = root.list("sweeps")
    known = folder / "refused" / "sweeps" / name / "trials" / "0000" / "trial.json"
    block(known)
    printed, said = refused.communicate(timeout=500)
    assert refused.returncode == 2, said
    assert not printed
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"thaw: sweep {name} can no longer be written down: ")
    assert f"run `thaw tune --resume {name}`" in last
    assert root.list(f"sweeps/{name}/trials/0000/checkpoints")

    known.rmdir()
    known.with_name("kept.json").rename(known)
    assert_alike(ended(command(folder, "--resume", name, "--storage", str(folder / "refused"))), wanted)


def block(file):
    """Put a folder where a file was that is written again and again, and keep the file beside it."""
    while True:
        file.rename(file.with_name("kept.json"))
        with suppress(FileExistsError):  # it was written again in between
            file.mkdir()
            return


@pytest.mark.slow
def test_the_best_is_trained_anew_on_all_images_and_goes_on_after_a_kill(tmp_path):
    plan = {
        "phases": [{"epochs": 2, "rates": {"head": 1e-3}}, {"epochs": 18, "rates": {"head": 1e-3}}],
        "early_stopping": {"patience": None, "monitor": "layout.loss"},
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "finetune": plan}))
    few = {"search": {"by": "random", "trials": 1}, "set": {}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({**SPACE, **few}))
    store_of = ("--storage", str(tmp_path / "store"))
    root = open_root(str(tmp_path / "store"))
    first = command(tmp_path, *BEGIN, "--refit-on", "train+val", *store_of)
    wait_until(lambda: any(root.exists(f"runs/{name}/metrics.csv") for name in root.list("runs")))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    [run_id] = root.list("runs")
    before = rows(root, run_id)

    [name] = root.list("sweeps")
    came = ended(command(tmp_path, "--resume", name, *store_of))
    assert (came["run"], root.list("runs")) == (run_id, [run_id])
    [trial] = came["trials"]
    best = max(trial["reports"], key=lambda report: report["score"])["epoch"]
    after = rows(root, run_id)
    assert 0 < len(before) < best == len(after)
    assert after[: len(before)] == before  # down to the seconds that they took
    assert "no image was left to validate on" in came["anew"]
    written = record.load(root, run_id)
    assert list(written.metrics) == ["test"]
    assert (written.environment["sweep"], written.environment["trial"]) == (name, 0)
    version = store.resolve(root, f"tiny@{winner.CANDIDATE}")
    assert store.lineage(root, version).learnt_from == "train+val"
    last = f"runs/{run_id}/checkpoints/epoch_{best:04d}/model.safetensors"
    assert root.read_bytes(f"{version.path}/model.safetensors") == root.read_bytes(last)
    on_val = changed(load.parse(EXPERIMENT, "test"), storage__root=root.uri, evaluate__split="val")
    with pytest.raises(DataError, match="tiny/1 has learnt from the val images"):
        evaluation.evaluate(on_val, "tiny/1")


def rows(root, run_id):
    return list(csv.DictReader(io.StringIO(root.read_bytes(f"runs/{run_id}/metrics.csv").decode())))


@pytest.fixture(scope="module")
def two_nodes():
    """Two Ray nodes of one CPU each, and a folder with a sweep whose two trials at a time need both of them.

    Its trials come to the same in whatever order their reports come.
    """
    whole = {**EXPERIMENT["train"], "cpus_per_worker": 1}
    plan = {"phases": [{"epochs": 2}, {"epochs": 10, "depth": 3}], "early_stopping": {"patience": None}}
    space = {"scheduler": {"by": "none"}, "budget": {"concurrent": 2}, "search": {"by": "random", "trials": 3}}
    with tempfile.TemporaryDirectory(prefix="thaw") as short, local.running(2, dashboard=False, token=False) as nodes:
        folder = Path(short)
        (folder / "experiment.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "train": whole, "finetune": plan}))
        (folder / "space.yaml").write_text(yaml.safe_dump({**SPACE, **space}))
        yield (
            nodes,
            folder,
            ended(command(folder, *BEGIN, "--storage", str(folder / "calm"), RAY_ADDRESS=nodes.address)),
        )


@pytest.mark.slow
def test_after_the_driver_is_killed_on_a_cluster_the_sweep_ends_as_undisturbed(two_nodes, told):
    nodes, folder, wanted = two_nodes
    shaken = command(folder, *BEGIN, "--storage", str(folder / "driver"), RAY_ADDRESS=nodes.address)
    root = open_root(str(folder / "driver"))
    wait_until(lambda: len(reports(root)) >= 4)
    os.kill(shaken.pid, signal.SIGKILL)
    shaken.communicate()
    [name] = root.list("sweeps")
    again = command(folder, "--resume", name, "--storage", str(folder / "driver"), RAY_ADDRESS=nodes.address)
    told("driver", seconds_to_next_report(root, time.monotonic()))
    assert_alike(ended(again), wanted)


@pytest.mark.slow
def test_after_the_raylet_of_a_node_is_killed_its_trial_goes_on_and_the_sweep_ends_as_undisturbed(two_nodes, told):
    nodes, folder, wanted = two_nodes
    shaken = command(folder, *BEGIN, "--storage", str(folder / "raylet"), RAY_ADDRESS=nodes.address)
    root = open_root(str(folder / "raylet"))
    wait_until(lambda: len({number for number, *_ in reports(root)}) == 2)  # both trials have learnt something
    assert nodes.nodes[-1].is_working("ImplicitFunc")
    nodes.nodes[-1].kill_raylet()
    since = time.monotonic()
    nodes.add()
    settle()
    known, both = set(reports(root)), running(root)
    # one of them is untouched, so that the other one has gone on once neither waits any more
    wait_until(lambda: not both & running(root) - {number for number, *_ in set(reports(root)) - known})
    told("raylet", time.monotonic() - since)
    assert_alike(ended(shaken), wanted)


def trials(root):
    """Yield every trial as it is written down."""
    for name in root.list("sweeps"):
        for number in root.list(f"sweeps/{name}/trials"):
            place = f"sweeps/{name}/trials/{number}/trial.json"
            if root.exists(place):
                yield root.read_json(place)


def running(root):
    """Return the numbers of the trials that are not over."""
    return {one["number"] for one in trials(root) if one["stage"] == "running"}


def reports(root):
    """Return trial, epoch and time of every epoch that is written down."""
    return [(one["number"], report["epoch"], report["at_s"]) for one in trials(root) for report in one["reports"]]
