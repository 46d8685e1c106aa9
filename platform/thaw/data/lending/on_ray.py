"""Lending: shards of a split in Ray's object store, each for as long as somebody reads it.

What fits into one window of the shuffle (see thaw.data.order) is read once and stays. Of a larger split only what is
about to be read is there, and is read anew in every epoch: once for all readers, through one actor, wherever they are.
So memory stays as it is however large a dataset grows, and nothing need be spilled to disks: a shard that was spilled
would be brought back whole for each image that is wanted of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thaw import on_ray
from thaw.data import dataset
from thaw.storage import Root

Loan = dict[int, "ray.ObjectRef[pa.Table]"]
"""Rows of shards by their places; they are there as long as this is."""


class Lent:
    """The shards of a split, as one of the processes that read them sees them; it can be sent to others.

    A librarian that is gone, with its node, lends nothing: whoever asks reads for itself.
    """

    def __init__(self, root: Root, paths: Sequence[str], labels: Mapping[str, str]) -> None:
        """Start the librarian.

        Args:
            paths: of the shards, below the root.
            labels: that nodes must have on which they are read.
        """
        self._root, self._paths, self._labels = root, tuple(paths), dict(labels)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        self._librarian: Any = ray.remote(_Librarian).options(**options).remote(self._root, self._paths, self._labels)

    def lend(self, reader: str, places: Collection[int]) -> Loan:
        """Return some shards, which are read if nobody has them; what the reader was lent before is kept no longer.

        Args:
            reader: one at a time has a name.
        """
        wanted = sorted(places)
        try:
            found: list[ray.ObjectRef[pa.Table]] = ray.get(self._librarian.lend.remote(reader, wanted))
        except RayActorError:
            found = read(self._root, [self._paths[place] for place in wanted], self._labels)
        return dict(zip(wanted, found, strict=True))


class _Librarian:
    """References to the shards that are lent, in a process of its own."""

    def __init__(self, root: Root, paths: Sequence[str], labels: Mapping[str, str]) -> None:
        self._root, self._paths, self._labels = root, paths, labels
        self._lent: dict[str, set[int]] = {}
        self._there: Loan = {}

    def lend(self, reader: str, places: Sequence[int]) -> "list[ray.ObjectRef[pa.Table]]":
        self._lent[reader] = set(places)
        wanted = set[int]().union(*self._lent.values())
        self._there = {place: shard for place, shard in self._there.items() if place in wanted}
        missing = [place for place in places if place not in self._there]
        shards = read(self._root, [self._paths[place] for place in missing], self._labels)
        self._there |= zip(missing, shards, strict=True)
        return [self._there[place] for place in places]


def read(root: Root, paths: Sequence[str], labels: Mapping[str, str]) -> "list[ray.ObjectRef[pa.Table]]":
    """Begin to read shards, on any nodes that have these labels.

    Without CPUs of their own: what training processes wait for must not wait for the CPUs that they hold.
    """
    lanes = max(1, int(on_ray.fitting_cpus({}, labels)))
    return on_ray.in_lanes(_read, [(root, path) for path in paths], lanes, label_selector=dict(labels))


def _read(root: Root, path: str) -> pa.Table:
    """Read a shard, in a process that loads what decoding will need while models are built elsewhere."""
    import thaw.data.feed  # noqa: F401

    return dataset.read_shard(root, path)
