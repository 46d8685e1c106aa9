"""The pretrained weights can be had on every node."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, named


def check(material: Material) -> Finding:
    if material.weights is None:
        return Finding("skipped", "no weights were asked for")
    missing = [f"{node.name}: {seen.weights}" for node, seen in material.answering if seen.weights]
    values = {"looked_for": material.weights, "missing": missing}
    if missing:
        return Finding(
            "failed",
            f"{material.weights}: {named(missing)}",
            "put the package into the image, or give model.weights.path a file on shared storage",
            values,
        )
    return Finding("ok", f"{material.weights}: there on every node", values=values)
