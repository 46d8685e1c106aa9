"""What a verb tells of an artifact: what the gate found, and what it costs beside its parent."""

from collections.abc import Iterator, Mapping
from typing import Any


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for a person.

    Args:
        told: what ``artifact.json`` holds.
    """
    made = told["settings"]
    how = [made["to"], made["precision"], *([made["calibration"]] if made["calibration"] else [])]
    how += [
        f"{made[one]:.0%} {what}" for one, what in (("prune", "of channels less"), ("sparse", "zeros")) if made[one]
    ]
    yield f"{told['name']} of {told['parent']}: {', '.join(how)}; {told['parameters']:,} weights"
    yield from (f"  {reason}" for reason in told["gate"]["reasons"])
    for task, one in told["gate"]["tasks"].items():
        metric = (
            "no labels" if one["parent"] is None else f"{one['metric']} {one['parent']:.4f} -> {one['artifact']:.4f}"
        )
        yield f"  {task:<16}{metric}; {one['flips']:.2%} differ"
    yield f"  {'':<16}{'MB':>8}{'ms for 1':>10}{'p95':>10}{'ms for 32':>11}{'p95':>10}{'images/s':>10}"
    yield f"  {'bundle':<16}{_costs(told['parent_bytes'], told['parent_cost'])}"
    yield f"  {told['name'][:16]:<16}{_costs(told['bytes'], told['cost'])}"


def _costs(size: int, cost: Mapping[str, Any]) -> str:
    one, slow, many, slowest = (cost[kind][batch] for batch in ("1", "32") for kind in ("p50_ms", "p95_ms"))
    return f"{size / 1e6:>8.1f}{one:>10.1f}{slow:>10.1f}{many:>11.1f}{slowest:>10.1f}{cost['images_per_s']:>10.1f}"
