"""Every node reaches the head and every other node."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, named


def check(material: Material) -> Finding:
    closed = [f"{node.name} -> {place}" for node in material.nodes for place in node.unreachable]
    values = {"closed": closed}
    if closed:
        return Finding(
            "failed",
            f"{len(closed)} way(s) are closed: {named(closed)}",
            "open all ports between the pods or machines of one cluster: Ray, gloo and NCCL choose theirs as they go",
            values,
        )
    return Finding("ok", "head, dashboard, raylets and object managers are reached from every node", values=values)
