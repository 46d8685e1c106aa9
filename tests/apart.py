"""What lets an endpoint of a test stand beside others on this machine: ports and files of its own."""

import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def haproxy_places(folder: Path) -> dict[str, str]:
    """Return Ray's variables for HAProxy's files and ports; the path of a socket may have about 100 characters."""
    names = {
        "CONFIG_FILE_LOC": "haproxy.cfg",
        "SOCKET_PATH": "admin",
        "METRICS_SOCKET_PATH": "metrics",
        "SERVER_STATE_FILE": "state",
    }
    metrics, stats = free_ports(2)
    return {
        **{f"RAY_SERVE_HAPROXY_{name}": str(folder / file) for name, file in names.items()},
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
    }
