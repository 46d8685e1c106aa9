"""Totals: what replicas have counted, added up; a replica that is gone still counts for what it did."""

from thaw.serving.watch import metrics
from thaw.serving.watch.metrics import Snapshot

_GONE_S = 60.0
"""Seconds without a word after which a replica is not counted among those that answer."""
_FORGOTTEN_S = 3600.0
"""Seconds without a word after which its counts are added to those of all that are gone."""


class Totals:
    """The latest counts of every replica.

    Every sum is of what was told here, never of what a replica knows itself, so that no counter falls from one look to
    the next. Where this process begins anew, counts of replicas that were gone by then are lost, and counters fall
    once.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Snapshot]] = {}
        self._gone: Snapshot = ()
        self._forgotten: set[str] = set()

    def heard(self, replica: str, snapshot: Snapshot, now: float) -> None:
        """Take in the counts of a replica."""
        if replica in self._forgotten:
            return
        self._told[replica] = (now, snapshot)
        for name, (when, last) in list(self._told.items()):
            if now - when > _FORGOTTEN_S:
                self._gone = metrics.total([self._gone, last])
                self._forgotten.add(name)
                del self._told[name]

    def living(self, now: float) -> int:
        """Return how many replicas were heard of lately."""
        return sum(now - when <= _GONE_S for when, _ in self._told.values())

    def snapshot(self) -> Snapshot:
        """Return the sums."""
        return metrics.total([self._gone, *(snapshot for _, snapshot in self._told.values())])
