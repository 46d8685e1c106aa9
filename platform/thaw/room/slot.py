"""Slot: what one process takes of one node; and whether nodes can hold several of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_LEAST = 1e-6
"""Ray counts in ten-thousandths."""
_COMMON = {"CPU", "memory", "object_store_memory"}
"""What every node has."""


@dataclass(frozen=True)
class Slot:
    """What one process takes.

    Attributes:
        resources: name -> amount, above zero.
        labels: name -> what is asked of a node's label: a, !a, in(a, b) or !in(a, b).
    """

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cpus: float = 0, gpus: float = 0, labels: Mapping[str, str] | None = None, **others: float) -> "Slot":
        """Return a slot without what it takes nothing of."""
        taken = {"CPU": cpus, "GPU": gpus, **others}
        return cls({name: amount for name, amount in taken.items() if amount}, labels or {})

    def __str__(self) -> str:
        words = [f"{amount:g} {_plural(name, amount)}" for name, amount in self.resources.items()]
        return " and ".join([*words, *(f"{name}: {value}" for name, value in self.labels.items())])


@dataclass(frozen=True)
class Node:
    """What a node has, in use or not."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


def hold(nodes: Sequence[Node], slots: Iterable[Slot]) -> bool:
    """Return whether nodes can hold all slots at once, each on one node; the dearest are placed first."""
    left = [dict(node.resources) for node in nodes]
    for slot in sorted(slots, key=_dearness, reverse=True):
        fitting = [free for node, free in zip(nodes, left, strict=True) if _has(node, slot) and _fits(free, slot)]
        if not fitting:
            return False
        room = min(fitting, key=lambda free: _wasted(free, slot))
        for name, amount in slot.resources.items():
            room[name] -= _taken(name, amount)
    return True


def meets(label: str | None, wanted: str) -> bool:
    """Return whether a node's label is one that a selector of Ray asks for: a, !a, in(a, b) or !in(a, b)."""
    values = wanted.removeprefix("!")
    allowed = values[3:-1].split(",") if values.startswith("in(") else [values]
    return (label in [value.strip() for value in allowed]) != wanted.startswith("!")


def told(slots: Sequence[Slot]) -> str:
    """Return slots in words: 2 x (1 CPU and 1 GPU), 1 CPU."""
    counted = Counter(map(str, slots))
    return ", ".join(f"{count} x ({one})" if count > 1 else one for one, count in counted.items())


def had(nodes: Sequence[Node]) -> str:
    """Return in words what nodes have."""
    cpus, gpus = (sum(node.resources.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    return f"{cpus:g} {_plural('CPU', cpus)} and {gpus:g} {_plural('GPU', gpus)} on {len(nodes)} node(s)"


def _dearness(slot: Slot) -> tuple[bool, float, float]:
    return (
        bool(slot.labels) or bool(set(slot.resources) - _COMMON - {"GPU"}),
        slot.resources.get("GPU", 0),
        slot.resources.get("CPU", 0),
    )


def _has(node: Node, slot: Slot) -> bool:
    return all(meets(node.labels.get(name), wanted) for name, wanted in slot.labels.items())


def _fits(free: Mapping[str, float], slot: Slot) -> bool:
    return all(free.get(name, 0) >= _taken(name, amount) - _LEAST for name, amount in slot.resources.items())


def _taken(name: str, amount: float) -> float:
    """Return what a slot takes of a node: part of a GPU is of one GPU, and what is left of that may be of no use."""
    return 1 / int(1 / amount + _LEAST) if name == "GPU" and amount < 1 else amount


def _wasted(free: Mapping[str, float], slot: Slot) -> tuple[int, float]:
    """Return how many scarce resources of a node a slot has no use for, and the node's CPUs."""
    others = set(free) - set(slot.resources) - _COMMON
    return sum(free[name] > 0 for name in others if not name.startswith("node:")), free.get("CPU", 0)


def _plural(name: str, amount: float) -> str:
    return f"{name}s" if name in ("CPU", "GPU") and amount != 1 else name
