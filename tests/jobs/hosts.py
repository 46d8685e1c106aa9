"""Two hosts with a link between them: network namespaces of this machine, each with a Ray node, and a driver in one.

What they do not have of their own are disks: both see the files of this machine, as hosts that share a folder do.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import local
from local import Cluster

_NET = "10.77.0"
_PORT, _WEB = 6379, 8265


@dataclass(frozen=True)
class Host:
    """A network of its own, which lasts as long as a process that does nothing."""

    number: int
    pid: int

    @property
    def address(self) -> str:
        """Where the other one finds it."""
        return f"{_NET}.{self.number}"

    @property
    def through(self) -> Sequence[str]:
        """What runs the command after it on this host.

        Its name leads to the loopback, as names do in /etc/hosts of many machines: Gloo is told which network is meant.
        """
        return ("nsenter", f"--target={self.pid}", "--net", "--", "env", "GLOO_SOCKET_IFNAME=cable")

    def do(self, *command: str) -> None:
        """Run a command here.

        Raises:
            CalledProcessError: it refuses.
        """
        subprocess.run([*self.through, *command], check=True, capture_output=True, text=True)

    def cut(self) -> None:
        """Take the link away, as if its cable were drawn."""
        self.do("ip", "link", "set", "cable", "down")

    def mend(self) -> None:
        """Put the link back."""
        self.do("ip", "link", "set", "cable", "up")


@contextlib.contextmanager
def two() -> Iterator[tuple[Host, Host]]:
    """Give two hosts with a link; skip the test where this machine does not allow that."""
    with contextlib.ExitStack() as held:
        try:
            hosts = (Host(1, _network(held)), Host(2, _network(held)))
            hosts[0].do(
                "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(hosts[1].pid)
            )
            for host in hosts:
                host.do("ip", "address", "add", f"{host.address}/24", "dev", "cable")
                host.do("ip", "link", "set", "lo", "up")
                host.mend()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces with a link: {getattr(error, 'stderr', None) or error}")
        yield hosts


def _network(held: contextlib.ExitStack) -> int:
    """Begin a process in a network of its own, and return its id."""
    begun = held.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stderr=subprocess.PIPE))
    held.callback(begun.kill)
    own, other = Path("/proc/self/ns/net"), Path(f"/proc/{begun.pid}/ns/net")
    for _ in range(50):
        if begun.poll() is not None:
            raise OSError(begun.stderr.read().decode() if begun.stderr else "unshare")
        if own.readlink() != other.readlink():
            return begun.pid
        time.sleep(0.1)
    raise OSError("unshare makes no network")


def head(folder: Path, host: Host, cpus: float) -> Cluster:
    """Start the head of a cluster on a host."""
    cluster = Cluster(folder, f"{host.address}:{_PORT}", None, None, cpus)
    arguments = ["--head", f"--port={_PORT}", f"--node-ip-address={host.address}", f"--temp-dir={folder / 'a'}"]
    arguments += ["--include-dashboard=False"]
    cluster.nodes.append(local.begin(cluster, host.address, arguments, through=host.through))
    return cluster


def join(cluster: Cluster, host: Host) -> None:
    """Start a node on another host."""
    own = cluster.folder / f"b{len(cluster.nodes)}"
    arguments = [f"--address={cluster.address}", f"--node-ip-address={host.address}", f"--temp-dir={own}"]
    cluster.nodes.append(local.begin(cluster, host.address, arguments, through=host.through))
