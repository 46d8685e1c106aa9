"""A real cluster of three nodes that asks for a token: what the doctor says of it, and work that is submitted to it."""

import csv
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import local
import tiny
from local import Cluster
from thaw.registry import record
from thaw.storage import open_root

pytestmark = pytest.mark.slow

CODE = "import sys; from thaw import cli; sys.exit(cli.run())"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local.running(3, cpus=2) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an experiment of several epochs and a storage root."""
    made = tmp_path_factory.mktemp("work")
    plan = {"phases": [{"epochs": 2, "depth": 0}, {"epochs": 8, "depth": 3}], "early_stopping": {"patience": None}}
    values = {**tiny.EXPERIMENT, "finetune": plan, "storage": {"root": str(made / "store")}}
    (made / "tiny.yaml").write_text(yaml.safe_dump(values))
    return made


def begun(folder: Path, *command: str, **environment: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    more = {"PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1", "PATH": _path()}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *command],
        cwd=folder,
        env=kept | more | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def done(process: "subprocess.Popen[str]", code: int) -> dict[str, Any]:
    """Return the JSON that a command printed, once it has ended as it should."""
    out, told = process.communicate(timeout=900)
    assert process.returncode == code, told
    return json.loads(out) if out.strip() else {"told": told}


def doctor(cluster: Cluster, folder: Path, code: int, *arguments: str) -> dict[str, Any]:
    storage = ("--storage", str(folder / "store"))
    command = ("doctor", "--address", cluster.address, *storage, "--json", *arguments)
    return done(begun(folder, *command, **cluster.environment), code)


def test_the_doctor_finds_nothing_wrong_and_leaves_nothing_behind(cluster: Cluster, folder: Path) -> None:
    told = doctor(cluster, folder, 0)
    states = {name: check["state"] for name, check in told["checks"].items()}
    print(json.dumps(told["checks"], indent=1))
    assert told["failed"] == []
    assert all(states[name] == "ok" for name in ("nodes", "versions", "clock", "ports", "auth", "storage", "exchange"))
    assert states["training"] == "ok"
    runs = told["checks"]["training"]["runs"]
    assert [run["workers"] for run in runs] == [1, 2, 3]
    assert all(len(set(run["digests"])) == 1 and len(run["digests"]) == run["workers"] for run in runs)
    assert open_root(str(folder / "store")).list("doctor") == []


@pytest.mark.parametrize(("bug", "said"), [("gradients", "drifted apart"), ("shares", "learnt something else than 1")])
def test_a_planted_bug_is_caught(bug: str, said: str, cluster: Cluster, folder: Path) -> None:
    told = doctor(cluster, folder, 1, "--plant-bug", bug)
    print(told["checks"]["training"])
    assert told["failed"] == ["training"]
    assert said in told["checks"]["training"]["what"]


def test_a_storage_root_that_is_no_ones_is_told(cluster: Cluster, folder: Path) -> None:
    (folder / "file").write_text("")
    command = ("doctor", "--address", cluster.address, "--storage", str(folder / "file" / "store"), "--json")
    told = done(begun(folder, *command, "--no-training", **cluster.environment), 1)
    assert told["failed"] == ["storage"]


def test_without_the_token_the_dashboard_jobs_and_the_head_refuse(cluster: Cluster, folder: Path) -> None:
    for path in ("/api/jobs/", "/nodes?view=summary", "/api/v0/actors"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{cluster.dashboard}{path}", timeout=30)
        assert refused.value.code == 401
        refused.value.close()
    address = str(cluster.dashboard)
    command = ("submit", "--address", address, "--shared-path", "train", "tiny.yaml")
    assert "asks for a token" in done(begun(folder, *command, RAY_AUTH_MODE="disabled"), 2)["told"]
    command = ("doctor", "--address", cluster.address, "--storage", str(folder / "store"), "--no-training")
    process = begun(folder, *command, RAY_AUTH_MODE="disabled")
    _, told = process.communicate(timeout=300)
    assert process.returncode != 0, told


def test_a_path_that_several_nodes_may_not_share_is_refused(cluster: Cluster, folder: Path) -> None:
    refused = done(begun(folder, "submit", "train", "tiny.yaml", **cluster.environment), 2)
    assert "has 3 nodes" in refused["told"]


def test_the_code_of_a_job_is_that_of_its_driver_and_a_mistake_is_not_tried_again(
    cluster: Cluster, folder: Path
) -> None:
    command = ("submit", "--retry", "2", "--shared-path", "evaluate", "tiny.yaml")
    told = done(begun(folder, *command, **cluster.environment), 2)["told"]
    assert "no version of tiny yet" in told
    assert "trying again" not in told


def test_training_that_loses_a_node_goes_on_from_its_last_checkpoint(cluster: Cluster, folder: Path) -> None:
    root = open_root(str(folder / "store"))
    workers = ("train.workers=2", "train.cpus_per_worker=2")  # one a node, and a node left to decode
    command = ("submit", "--json", "--retry", "1", "--shared-path", "train", "tiny.yaml", *workers, "--run", "shaken")
    process = begun(folder, *command, **cluster.environment)
    try:
        wait_until(lambda: len(epochs(root, "shaken")) >= 3, process)
        lost = next(node for node in reversed(cluster.nodes[1:]) if node.is_working("RayTrainWorker"))
        known, since = len(epochs(root, "shaken")), time.monotonic()
        lost.kill()
        cluster.add()
        wait_until(lambda: len(epochs(root, "shaken")) > known, process)
        print(f"a node was killed after epoch {known}; the next one was told {time.monotonic() - since:.0f} s later")
        told = done(process, 0)
    finally:
        process.kill()
    assert (told["code"], told["status"], told["run"], told["stage"]) == (0, "SUCCEEDED", "shaken", "trained")
    assert [int(row["epoch"]) for row in epochs(root, "shaken")] == list(range(1, 11))
    assert record.load(root, "shaken").epochs_run == 10


def test_a_job_whose_driver_is_killed_is_tried_again_with_the_same_run(cluster: Cluster, folder: Path) -> None:
    root = open_root(str(folder / "store"))
    command = ("submit", "--json", "--retry", "1", "--shared-path", "train", "tiny.yaml", "--run", "twice")
    process = begun(folder, *command, **cluster.environment)
    try:
        wait_until(lambda: len(epochs(root, "twice")) >= 3, process)
        for node in cluster.nodes:
            for one in node.family():
                with suppress(psutil.NoSuchProcess):  # others come and go meanwhile
                    if one.name().startswith("python") and "jobs/train.py" in " ".join(one.cmdline()):
                        one.kill()
        told = done(process, 0)
    finally:
        process.kill()
    assert told["run"] == "twice"
    assert [int(row["epoch"]) for row in epochs(root, "twice")] == list(range(1, 11))


def epochs(root: Any, run: str) -> list[dict[str, str]]:
    """Return the rows of a run's curves so far."""
    path = f"runs/{run}/metrics.csv"
    return list(csv.DictReader(io.StringIO(root.read_bytes(path).decode()))) if root.exists(path) else []


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            out, told = process.communicate(timeout=60) if process.poll() is not None else ("", "too slow")
            pytest.fail(f"{out}\n{told}")
        time.sleep(0.2)
