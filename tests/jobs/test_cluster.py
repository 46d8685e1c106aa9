"""A real cluster of three nodes that asks for a token: what the doctor says of it, and what it refuses."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from submitting import Begun

import local
import tiny
from local import Cluster
from thaw.storage import open_root

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local.running(3, cpus=2) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an experiment and a storage root."""
    made = tmp_path_factory.mktemp("work")
    (made / "tiny.yaml").write_text(yaml.safe_dump({**tiny.EXPERIMENT, "storage": {"root": str(made / "store")}}))
    return made


def done(code: int, folder: Path, *command: str, **environment: str) -> dict[str, Any]:
    """Return the JSON that a command printed, once it has ended as it should."""
    with Begun(folder, *command, **environment) as begun:
        return begun.ended(code)


def doctor(cluster: Cluster, folder: Path, code: int, *arguments: str) -> dict[str, Any]:
    storage = ("--storage", str(folder / "store"))
    command = ("doctor", "--address", cluster.address, *storage, "--json", *arguments)
    return done(code, folder, *command, **cluster.environment)


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
    told = done(1, folder, *command, "--no-training", **cluster.environment)
    assert told["failed"] == ["storage"]


def test_without_the_token_the_dashboard_jobs_and_the_head_refuse(cluster: Cluster, folder: Path) -> None:
    for path in ("/api/jobs/", "/nodes?view=summary", "/api/v0/actors"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{cluster.dashboard}{path}", timeout=30)
        assert refused.value.code == 401
        refused.value.close()
    address = str(cluster.dashboard)
    command = ("submit", "--address", address, "--shared-path", "train", "tiny.yaml")
    assert "asks for a token" in done(2, folder, *command, RAY_AUTH_MODE="disabled")["told"]
    command = ("doctor", "--address", cluster.address, "--storage", str(folder / "store"), "--no-training")
    with Begun(folder, *command, RAY_AUTH_MODE="disabled") as begun:
        assert begun.process.wait(timeout=300) != 0, begun.told


def test_a_path_that_several_nodes_may_not_share_is_refused(cluster: Cluster, folder: Path) -> None:
    refused = done(2, folder, "submit", "train", "tiny.yaml", **cluster.environment)
    assert "has 3 nodes" in refused["told"]


def test_the_code_of_a_job_is_that_of_its_driver_and_a_mistake_is_not_tried_again(
    cluster: Cluster, folder: Path
) -> None:
    command = ("submit", "--retry", "2", "--shared-path", "evaluate", "tiny.yaml")
    told = done(2, folder, *command, **cluster.environment)["told"]
    assert "no version of tiny yet" in told
    assert "trying again" not in told
