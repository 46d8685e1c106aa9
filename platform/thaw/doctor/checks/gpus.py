"""GPUs are there, offered by Ray, and under one driver."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, named


def check(material: Material) -> Finding:
    offered = sum(node.gpus for node in material.nodes)
    lacking = material.where(lambda node, seen: node.gpus > len(seen.gpus))
    idle = material.where(lambda node, seen: len(seen.gpus) > node.gpus)
    kinds = sorted({f"{gpu.name}, {gpu.memory_mib} MiB" for _, seen in material.answering for gpu in seen.gpus})
    drivers = sorted({gpu.driver for _, seen in material.answering for gpu in seen.gpus})
    values = {"gpus": offered, "kinds": kinds, "drivers": drivers, "lacking": lacking, "not_offered": idle}
    if lacking:
        return Finding(
            "failed",
            f"Ray offers more GPUs than nvidia-smi finds on {named(lacking)}",
            "give the container its GPUs (nvidia.com/gpu in its limits) and the NVIDIA runtime",
            values,
        )
    if not offered and not idle:
        return Finding("skipped", "no node has a GPU", values=values)
    told = f"{offered:g} GPUs: {'; '.join(kinds)}; driver {', '.join(drivers)}"
    if idle:
        return Finding(
            "warning", f"{told}; more than Ray offers on {named(idle)}", "start Ray there with --num-gpus", values
        )
    if len(drivers) > 1:
        return Finding("warning", f"{told}: several drivers", "bring all nodes to one driver; NCCL is picky", values)
    return Finding("ok", told, values=values)
