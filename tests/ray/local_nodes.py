"""Ray nodes on this machine, each in processes and with an address of its own, that can be killed one by one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil


class Nodes:
    """A head node and others of one CPU each."""

    def __init__(self, folder: Path) -> None:
        port, client = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._begun = list[subprocess.Popen[str]]()
        ports = (f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false")
        self._start("--head", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}", *ports)

    def add(self) -> None:
        """Start another node, at an address at which no driver of this machine would look for its own."""
        self._start(f"--address={self.address}", f"--node-ip-address=127.0.0.{len(self._begun) + 1}")

    def kill_raylet(self) -> None:
        """Kill the raylet of the node that was added last, and nothing else of it."""
        [raylet] = [one for one in self._last() if one.name() == "raylet"]
        os.kill(raylet.pid, signal.SIGKILL)

    def is_working(self, title: str) -> bool:
        """Return whether a process with a title like this is on the node that was added last."""
        return any(title in " ".join(one.cmdline()) for one in self._last() if one.is_running())

    def end(self) -> None:
        """Kill all processes of all nodes."""
        for node in reversed(self._begun):
            left = [*psutil.Process(node.pid).children(recursive=True)] if node.poll() is None else []
            for group in {os.getpgid(one.pid) for one in left if one.is_running()} | {node.pid}:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            node.communicate()

    def _last(self) -> list[psutil.Process]:
        return psutil.Process(self._begun[-1].pid).children(recursive=True)

    def _start(self, *arguments: str) -> None:
        sizes = ("--num-cpus=1", "--object-store-memory=200000000")
        ports = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
        node = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *sizes, *ports, *arguments],
            env=os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._begun.append(node)
        said = []
        for line in node.stdout or ():
            said.append(line)
            if "Ray runtime started" in line:
                return
        raise RuntimeError("".join(said))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Give a cluster of two nodes, and end it.

    Args:
        folder: with a short path, for sockets lie in it.
    """
    nodes = Nodes(folder)
    try:
        nodes.add()
        yield nodes
    finally:
        nodes.end()
