"""What Ray calls in its proxy on every node to have the gate in front; its errors are counted for Ray's own exporter.

Ray puts ``ray_`` before the counter's name. Those that are too many are nowhere else: they never reach the proxy.
"""

import os

from ray.util.metrics import Counter
from starlette.middleware import Middleware

from thaw.serving.gate import gate

ERRORS = "thaw_gate_errors_total"
"""Requests that the gate answered itself, by ``error``: overloaded, slow_body, replica_ended."""


def middlewares() -> list[Middleware]:
    """Return what Ray puts in front of its proxy; nothing where the variable is not set."""
    most = os.environ.get(gate.VARIABLE, "")
    if not most:
        return []
    counter = Counter(ERRORS, "Requests that the gate in front of a proxy answered itself, by error.", ("error",))

    def count(error: str) -> None:
        counter.inc(tags={"error": error})

    return [Middleware(gate.Gate, most=int(most), count=count)]
