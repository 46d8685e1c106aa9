"""Fixtures that more than one test file needs: a real S3 server, and a root on each kind of filesystem."""

import gc
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from thaw.storage import Root, open_root

_START_S = 30


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what is imported and collected out of garbage collection: it lives to the end, and is 900,000 objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    """Let the interpreter take down at its end what was left out: libraries complain of what is still there."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small are slower on several threads, and several test processes would fight for the cores."""
    import torch  # not above: the process that hands tests to others reads this file too, and needs none of it

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def s3_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an empty bucket on an S3 server of this machine; nothing reaches outside."""
    port = _free_port()
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("wb") as output, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait_for(server, port, log)
            yield _new_bucket(port)
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(params=["local", "s3"])
def root_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root: once a folder, once a prefix of a bucket."""
    if request.param == "local":
        return str(tmp_path / "root")
    bucket, _, query = request.getfixturevalue("s3_uri").partition("?")
    return f"{bucket}/{uuid.uuid4().hex[:8]}?{query}"


@pytest.fixture
def root(root_uri: str) -> Root:
    """An empty root on each kind of filesystem."""
    return open_root(root_uri)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the S3 server did not start: {log.read_text()}")


def _new_bucket(port: int) -> str:
    query = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    server, bucket = fs.FileSystem.from_uri(f"s3://thaw-{os.getpid()}?{query}&allow_bucket_creation=true")
    server.create_dir(bucket)
    return f"s3://{bucket}?{query}"
