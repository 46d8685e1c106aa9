"""How fast the nodes sum gradients together."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material

SLOW_S = 1.0
"""Seconds for the gradients of 25 million weights from which the network, not the GPU, sets the pace."""
_GRADIENTS = 100 * 10**6


def check(material: Material) -> Finding:
    found = material.exchanged
    if found is None:
        failed = material.alone.startswith("failed")
        return Finding("failed" if failed else "skipped", material.alone, _ADVICE if failed else "")
    large, small = max(found.seconds), min(found.seconds)
    rate = large / found.seconds[large]
    expected = found.seconds[small] + _GRADIENTS / rate
    told = (
        f"{found.backend} over {found.nodes} nodes: {found.seconds[small] * 1e3:.1f} ms for {small} bytes, "
        f"{rate / 1e9:.2f} GB/s for {large / 2**20:.0f} MiB; some {expected * 1e3:.0f} ms a step for 25 M weights"
    )
    values = {"backend": found.backend, "seconds": dict(found.seconds), "bytes_per_s": rate}
    if expected > SLOW_S:
        return Finding("warning", told, "train with fewer workers a node away, more steps between exchanges "
                       "(train.accumulate), or a faster network", values)  # fmt: skip
    return Finding("ok", told, values=values)


_ADVICE = (
    "see which interface is used (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME) and whether all ports between nodes are open"
)
