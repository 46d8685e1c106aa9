"""Material: what was seen of a cluster, for the checks to judge."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thaw.doctor.node import Seen
from thaw.doctor.tally import Tally

_NAMED = 3


@dataclass(frozen=True)
class Node:
    """A node as Ray counts it, and as it was seen from inside.

    Attributes:
        name: its address, with a number where several nodes have the same one.
        gpus: as Ray offers them.
        object_store: bytes of shared memory that Ray keeps objects in.
        seen: what a process on it reported; None where none answered.
        silence: why none did.
        offset_s: how far its clock is ahead of the driver's, by as much as the way there and back leaves open.
        written: what went wrong when it wrote to, read from and removed from the storage root; empty: nothing.
        shares: whether it saw what the driver had written there, and the driver what it had.
        unreachable: places that no connection could be made to from it.
    """

    name: str
    gpus: float
    object_store: int
    seen: Seen | None = None
    silence: str = ""
    offset_s: float | None = None
    written: str | None = None
    shares: bool | None = None
    unreachable: Sequence[str] = ()


@dataclass(frozen=True)
class Exchanged:
    """How long all nodes took to sum a tensor together.

    Attributes:
        seconds: bytes of the tensor -> median seconds.
    """

    backend: str
    nodes: int
    seconds: Mapping[int, float]


@dataclass(frozen=True)
class Material:
    """What was seen of a cluster.

    Attributes:
        here: versions that the driver has.
        storage: the root, as it may be shown; None where there is none to speak of.
        stranger: HTTP status of the dashboard's answer to somebody without a token; None where there is no dashboard.
        exchanged: None where it was not tried, for the reason in ``alone``.
        weights: what weights were looked for, in words.
        trained: what the self-test came to; empty where it was left out, for the reason in ``untrained``.
    """

    here: Mapping[str, str]
    nodes: Sequence[Node]
    storage: str | None = None
    stranger: int | None = None
    exchanged: Exchanged | None = None
    alone: str = "not tried"
    weights: str | None = None
    trained: Sequence[Tally] = field(default_factory=tuple)
    untrained: str = "left out"

    @property
    def answering(self) -> list[tuple[Node, Seen]]:
        """Nodes that answered, with what was seen on them."""
        return [(node, node.seen) for node in self.nodes if node.seen is not None]

    def where(self, is_so: Callable[[Node, Seen], bool]) -> list[str]:
        """Return the names of the nodes of which something is so."""
        return [node.name for node, seen in self.answering if is_so(node, seen)]


def named(names: Iterable[str]) -> str:
    """Return some of the names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return f"{', '.join(every[:_NAMED])}{more}"


def gib(count: float) -> str:
    """Return bytes for a person."""
    return f"{count / 2**30:.1f} GiB"
