"""The same versions of thaw, Ray, PyTorch and Python everywhere."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material


def check(material: Material) -> Finding:
    sides = [("driver", material.here), *((node.name, seen.versions) for node, seen in material.answering)]
    told = ", ".join(f"{package} {version}" for package, version in material.here.items())
    different = []
    for package in material.here:
        found = dict[str, list[str]]()
        for name, versions in sides:
            found.setdefault(versions.get(package, "missing"), []).append(name)
        if len(found) > 1:
            counts = "; ".join(f"{version} on {', '.join(names[:3])}" for version, names in found.items())
            different.append(f"{package} {counts}")
    values = {"versions": dict(material.here), "different": different}
    if different:
        return Finding(
            "failed",
            f"not the same everywhere: {' | '.join(different)}",
            "start every node from one image, pinned by its digest",
            values,
        )
    return Finding("ok", f"{told}; the same everywhere", values=values)
