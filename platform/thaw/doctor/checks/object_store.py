"""Shared memory holds what Ray means to keep in it."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, gib, named

LEAST = 512 * 2**20
"""Bytes below which the encoded images of even a small set push each other out."""


def check(material: Material) -> Finding:
    stores = {node.name: node.object_store for node in material.nodes}
    over = material.where(lambda node, seen: seen.shm is not None and node.object_store > seen.shm)
    small = [name for name, size in stores.items() if size < LEAST]
    values = {"object_store": stores, "shm": {node.name: seen.shm for node, seen in material.answering}}
    told = f"object stores of {gib(min(stores.values()))} to {gib(max(stores.values()))}"
    if over:
        return Finding(
            "failed",
            f"{told}, more than /dev/shm has on {named(over)}: Ray then keeps objects in files on a disk",
            "give the container a memory limit (KubeRay sizes /dev/shm by it) or --shm-size, or lower "
            "--object-store-memory",
            values,
        )
    if small:
        return Finding(
            "warning",
            f"{told}; below {gib(LEAST)} on {named(small)}",
            "encoded images of a whole split lie there: give nodes more memory, or a larger --object-store-memory",
            values,
        )
    return Finding("ok", f"{told}, within /dev/shm", values=values)
