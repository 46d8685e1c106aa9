"""What Ray calls in its proxy on every node to have the gate in front; refusals are counted for Ray's own exporter.

Ray puts ``ray_`` before the counter's name. Ray's counts of requests do not have these: they never reach the proxy.
"""

import os

from ray.util.metrics import Counter
from starlette.middleware import Middleware

from thaw.serving import gate

REFUSED = "thaw_gate_refused_total"
"""Requests that were answered in front of the proxy, by ``error``."""


def middlewares() -> list[Middleware]:
    """Return what Ray puts in front of its proxy; nothing where the variable is not set."""
    most = os.environ.get(gate.VARIABLE, "")
    if not most:
        return []
    counter = Counter(REFUSED, "Requests that the gate in front of a proxy answered itself, by error.", ("error",))

    def count(error: str) -> None:
        counter.inc(tags={"error": error})

    return [Middleware(gate.Gate, most=int(most), count=count)]
