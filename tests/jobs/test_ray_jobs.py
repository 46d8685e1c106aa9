"""`ray job submit` against a cluster of its own: the package that travelled is the one that runs, everywhere."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "disabled",
    "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # so that `python` in a job is this very one
}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Start a head node with a dashboard, and end what it started, and nothing else."""
    port, dashboard = free_port(), free_port()
    command = [RAY, "start", "--head", "--block", "--num-cpus=3", f"--port={port}", f"--dashboard-port={dashboard}"]
    with (tmp_path_factory.mktemp("ray") / "log").open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        _wait_for(dashboard)
        family = psutil.Process(head.pid).children(recursive=True)
        yield f"http://127.0.0.1:{dashboard}"
        for process in (psutil.Process(head.pid), *family):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        head.wait(timeout=30)


def _wait_for(port, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    pytest.fail("the head node did not start")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a user submits: jobs and the package, with a version that no installed copy has."""
    copy = tmp_path_factory.mktemp("submitted")
    for name in ("jobs", "platform"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    init = copy / "platform" / "thaw" / "__init__.py"
    init.write_text(init.read_text().replace('__version__ = "', '__version__ = "9.9.'))
    values = {**tiny.EXPERIMENT, "storage": {"root": str(tmp_path_factory.mktemp("store"))}}
    (copy / "tiny.yaml").write_text(yaml.safe_dump(values))
    return copy


def submit(address, folder, *arguments):
    command = [RAY, "job", "submit", "--address", address, "--working-dir", folder, "--", "python", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def test_a_job_trains_with_the_package_that_travelled(address, folder):
    done = submit(address, folder, "jobs/train.py", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "thaw 9.9." in done.stdout  # the driver says which package it runs
    [line] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    record = json.loads(line)
    assert record["stage"] == "trained"
    assert record["thaw_version"].startswith("9.9.")
    store = Path(record["experiment"]["storage"]["root"])
    described = json.loads((store / record["bundle"] / "bundle.json").read_text())
    assert described["thaw_version"].startswith("9.9.")  # written by a worker


def test_a_mistake_of_the_user_fails_the_job_without_a_traceback(address, folder):
    done = submit(address, folder, "jobs/train.py", "tiny.yaml", "train.bacth=3")
    assert done.returncode == 1
    assert "did you mean 'batch'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout
