"""Every node answers."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, named


def check(material: Material) -> Finding:
    silent = [f"{node.name} ({node.silence})" for node in material.nodes if node.seen is None]
    values = {"nodes": [node.name for node in material.nodes], "silent": silent}
    if silent:
        return Finding(
            "failed",
            f"{len(silent)} of {len(material.nodes)} node(s) ran nothing when asked: {named(silent)}",
            "look at the raylet's log on them (`ray logs`); a full node answers once it has room",
            values,
        )
    return Finding("ok", f"{len(material.nodes)} node(s), all answer", values=values)
