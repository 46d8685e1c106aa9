"""A Ray cluster of several nodes on this machine: a raylet each, ports of their own, and a token at the door.

    make cluster-up                        # three nodes; prints what to export
    python cluster/local.py up --nodes 5 --cpus 2
    make cluster-down

For development and tests. Processes are ended by their ids, never by ``ray stop``, which ends every Ray of a machine.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

FOLDER = Path(tempfile.gettempdir()) / f"thaw-cluster-{os.getuid()}"
"""Where the state of the cluster lies; a short path, for Ray's sockets lie below it."""
_STATE = "cluster.json"
_TOKEN = "token"  # noqa: S105 - the name of a file
_START_S = 300
_STORE_BYTES = 200_000_000
_SAYS = "Ray runtime started"
_TOLD = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "60"}
_TRIES = 3
"""On a busy machine the processes of a node miss each other's deadlines, of which some are fixed."""
_HEAD_ID = f"{0:05}".rjust(56, "f")
"""By which Ray's provider of nodes for tests knows the head."""
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""Named in full: by its short name it looks for a file that Ray's wheels lack."""
_GROWING = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}


@dataclass(frozen=True)
class Kind:
    """A kind of node that an autoscaler may start: what each has, and how many there may be."""

    resources: Mapping[str, float]
    most: int


@dataclass(frozen=True)
class Process:
    """A process by its id, and when it began: ids are used again."""

    pid: int
    created: float

    @classmethod
    def of(cls, process: psutil.Process) -> "Process":
        return cls(process.pid, process.create_time())

    def alive(self) -> psutil.Process | None:
        """Return the process itself; None where it is gone and another one may have its id."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if found.create_time() == self.created:
                return found
        return None


@dataclass(frozen=True)
class Node:
    """A node: its address, and the processes that it began with, of which the first is the parent of the rest."""

    address: str
    processes: tuple[Process, ...]

    def family(self) -> list[psutil.Process]:
        """Return all of its processes that live, workers too."""
        found = dict[int, psutil.Process]()
        for one in self.processes:
            if process := one.alive():
                with suppress(psutil.NoSuchProcess):
                    found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        return list(found.values())

    def is_working(self, title: str) -> bool:
        """Return whether a process with a title like this is on it."""
        return any(title in _title(one) for one in self.family())

    def kill(self) -> None:
        """End all of it at once, as if its machine had lost power."""
        _kill(self.family())

    def kill_raylet(self) -> None:
        """Kill its raylet and nothing else of it."""
        _kill([one for one in self.family() if one.name() == "raylet"])


@dataclass
class Cluster:
    """A cluster: a head node and others, in processes of this machine.

    Attributes:
        folder: where its files are.
        address: HOST:PORT that drivers join.
        dashboard: URL that jobs are submitted to; None where it has none.
        token: file of the token; None where nobody is asked for one.
        cpus: that each node offers.
    """

    folder: Path
    address: str
    dashboard: str | None
    token: Path | None
    cpus: float
    nodes: list[Node] = field(default_factory=list)
    begun: "list[subprocess.Popen[bytes]]" = field(default_factory=list, repr=False)
    """Those that this process started: Python complains of one that is forgotten while it runs."""

    @property
    def environment(self) -> dict[str, str]:
        """What a driver needs to join it."""
        found = {"RAY_ADDRESS": self.address, **_auth(self.token)}
        return found | ({"RAY_API_SERVER_ADDRESS": self.dashboard} if self.dashboard else {})

    def add(self) -> Node:
        """Start one more node, at an address at which no driver of this machine would look for its own."""
        own = f"127.0.0.{len(self.nodes) + 1}"
        # Nodes of one machine that share a folder take what jobs brought along from under each other.
        where = f"--temp-dir={self.folder / f'ray-{len(self.nodes) + 1}'}"
        self.nodes.append(begin(self, own, [f"--address={self.address}", f"--node-ip-address={own}", where]))
        return self.nodes[-1]

    def end(self) -> None:
        """End all processes of all nodes, the head last."""
        for node in reversed(self.nodes):
            node.kill()
        for one in self.begun:
            one.wait(timeout=10)


def start(
    folder: Path,
    nodes: int,
    cpus: float = 1,
    dashboard: bool = True,
    token: bool = True,
    grows: Mapping[str, Kind] | None = None,
) -> Cluster:
    """Start a cluster of so many nodes, the head among them.

    Args:
        folder: where its files go; with a short path, for sockets lie below it.
        cpus: that each node offers, whatever this machine has.
        token: whether who joins, or asks the dashboard, must know a token.
        grows: kinds of nodes, by name, that an autoscaler starts here when they are asked for.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port, client, web = _free_ports(3)
    shown = f"http://127.0.0.1:{web}" if dashboard else None
    cluster = Cluster(folder, f"127.0.0.1:{port}", shown, _new_token(folder) if token else None, cpus)
    head = ["--head", "--node-ip-address=127.0.0.1", f"--temp-dir={folder / 'ray'}", f"--port={port}"]
    head += [f"--ray-client-server-port={client}", f"--include-dashboard={dashboard}", f"--dashboard-port={web}"]
    if grows:
        head.append(f"--autoscaling-config={_autoscaling(cluster, grows)}")
    try:
        cluster.nodes.append(begin(cluster, "127.0.0.1", head, _GROWING if grows else {}))
        for _ in range(1, nodes):
            cluster.add()
    except BaseException:
        cluster.end()
        raise
    return cluster


@contextmanager
def running(
    nodes: int,
    cpus: float = 1,
    dashboard: bool = True,
    token: bool = True,
    grows: Mapping[str, Kind] | None = None,
) -> Iterator[Cluster]:
    """Give a cluster, and end it."""
    with tempfile.TemporaryDirectory(prefix="thaw", ignore_cleanup_errors=True) as folder:
        cluster = start(Path(folder), nodes, cpus, dashboard, token, grows)
        try:
            yield cluster
        finally:
            cluster.end()


def load(folder: Path) -> Cluster | None:
    """Return the cluster whose state lies in a folder; None where there is none."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except OSError:
        return None
    nodes = [Node(one["address"], tuple(Process(**process) for process in one["processes"])) for one in state["nodes"]]
    token = Path(state["token"]) if state["token"] else None
    return Cluster(folder, state["address"], state["dashboard"], token, state["cpus"], nodes)


def save(cluster: Cluster) -> None:
    """Write its state into its folder."""
    values = {
        "address": cluster.address,
        "dashboard": cluster.dashboard,
        "token": str(cluster.token) if cluster.token else None,
        "cpus": cluster.cpus,
        "nodes": [asdict(node) for node in cluster.nodes],
    }
    (cluster.folder / _STATE).write_text(json.dumps(values, indent=2), encoding="utf-8")


def _autoscaling(cluster: Cluster, kinds: Mapping[str, Kind]) -> Path:
    """Write what Ray's autoscaler is to do with its provider for tests, whose nodes are raylets of this machine."""
    head = {"ray.head.default": {"resources": {"CPU": cluster.cpus}, "node_config": {}, "max_workers": 0}}
    others = {
        name: {"resources": dict(kind.resources), "node_config": {}, "min_workers": 0, "max_workers": kind.most}
        for name, kind in kinds.items()
    }
    provider = {"type": "external", "module": _PROVIDER, "gcs_address": cluster.address, "head_node_id": _HEAD_ID}
    values = {
        "cluster_name": "local",
        "max_workers": sum(kind.most for kind in kinds.values()),
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1,
        "provider": {**provider, "launch_multiple": True, "disable_node_updaters": True},
        "available_node_types": head | others,
        "head_node_type": "ray.head.default",
        **dict.fromkeys(("setup_commands", "head_setup_commands", "worker_setup_commands", "cluster_synced_files"), ()),
    }
    path = cluster.folder / "autoscaling.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


class DidNotStartError(RuntimeError):
    """A node did not join; the message is what it said."""


def begin(
    cluster: Cluster,
    address: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
) -> Node:
    """Start a node and return it once it has joined.

    Args:
        arguments: of ``ray start``.
        environment: what it is told beside this process's own.
        through: a command that runs the one after it elsewhere, such as in another network namespace.

    Raises:
        DidNotStartError: it did not, several times.
    """
    for _ in range(1, _TRIES):
        with suppress(DidNotStartError):
            return _begin(cluster, address, arguments, environment or {}, through)
    return _begin(cluster, address, arguments, environment or {}, through)


def _begin(
    cluster: Cluster,
    address: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    through: Sequence[str],
) -> Node:
    sizes = (f"--num-cpus={cluster.cpus:g}", f"--object-store-memory={_STORE_BYTES}")
    ports = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
    log = cluster.folder / f"{address}-{len(cluster.nodes)}.log"
    with log.open("wb") as output:
        begun = subprocess.Popen(  # noqa: S603 - this very interpreter, no shell
            [*through, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *sizes, *ports, *arguments],
            env=_environment() | _auth(cluster.token) | _TOLD | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    cluster.begun.append(begun)
    deadline = time.monotonic() + _START_S
    while _SAYS not in log.read_text(encoding="utf-8", errors="replace"):
        if begun.poll() is not None or time.monotonic() > deadline:
            with suppress(psutil.NoSuchProcess):
                _kill([psutil.Process(begun.pid), *psutil.Process(begun.pid).children(recursive=True)])
            raise DidNotStartError(
                f"node {address} did not start:\n{log.read_text(encoding='utf-8', errors='replace')}"
            )
        time.sleep(0.2)
    parent = psutil.Process(begun.pid)
    return Node(address, tuple(Process.of(one) for one in (parent, *parent.children(recursive=True))))


def _environment() -> dict[str, str]:
    """Return this process's environment without what would lead the new nodes to another cluster.

    Jobs run the first ``python`` of the path: this one, as on nodes whose image has no other.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}


def _auth(token: Path | None) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)} if token else {"RAY_AUTH_MODE": "disabled"}


def _new_token(folder: Path) -> Path:
    path = folder / _TOKEN
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="ascii")
    return path


def _kill(processes: Sequence[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def _title(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return " ".join(process.cmdline())
    return ""


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _up(folder: Path, nodes: int, cpus: float) -> int:
    known = load(folder)
    if known and any(node.family() for node in known.nodes):
        print(f"a cluster of {folder} is up; `make cluster-down` ends it", file=sys.stderr)  # noqa: T201
        return 1
    cluster = start(folder, nodes, cpus)
    save(cluster)
    print(f"# {nodes} nodes of {cpus:g} CPUs; to use it:", file=sys.stderr)  # noqa: T201
    for name, value in cluster.environment.items():
        print(f"export {name}={value}")  # noqa: T201
    return 0


def _down(folder: Path) -> int:
    if cluster := load(folder):
        cluster.end()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def main() -> int:
    """Start or end the cluster of this user."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("what", choices=("up", "down"))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=float, default=2, help="that each node offers, whatever this machine has")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    return _up(chosen.folder, chosen.nodes, chosen.cpus) if chosen.what == "up" else _down(chosen.folder)


if __name__ == "__main__":
    sys.exit(main())
