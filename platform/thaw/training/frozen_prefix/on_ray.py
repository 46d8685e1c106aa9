"""The frozen-prefix cache on Ray: blocks in the object store, kept by one actor for all workers of a run.

The actor holds the only reference that lasts and owns what it refers to, so blocks outlive the worker that computed
them; on its own node every worker reads them where they are, without a copy. What is lost with a node is computed anew.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray.exceptions import ObjectLostError, OwnerDiedError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thaw import on_ray
from thaw.config.experiment import Cache as Options
from thaw.training.frozen_prefix.blocks import Block
from thaw.training.frozen_prefix.claims import Spot
from thaw.training.frozen_prefix.keeper.on_ray import Keeper

Answer = TypeVar("Answer")

_SHARE = 0.5
"""Share of a node's object store that may be taken; decoded batches need the rest."""


class SharedStore:
    """The blocks of a run, as one of its processes sees them; it can be sent to others.

    A keeper that is gone, with its node, has nothing and takes nothing: whoever asks computes for itself.
    """

    def __init__(self, keeper: Any, max_bytes: int) -> None:
        """Use a running keeper."""
        self._keeper = keeper
        self.max_bytes = max_bytes

    def put(self, key: str, place: int, block: Block) -> None:
        """Keep a block, if there is room for it."""
        self._asked(None, "put", key, place, block)

    def places(self, key: str) -> set[int]:
        """Return which blocks are there."""
        return self._asked(set[int](), "places", key)

    def claim(self, name: str, wanted: Sequence[Spot]) -> list[Spot]:
        """Return those spots that are missing, and that ``name`` and nobody else is to compute now."""
        return self._asked(list(wanted), "claim", name, list(wanted))

    def release(self, name: str) -> None:
        """End all claims of a name; nobody waits for the answer."""
        self._keeper.release.remote(name)

    def get(self, key: str) -> dict[int, Block]:
        """Return the blocks that are there; where one was lost, none, and its key is forgotten."""
        references = self._asked(dict[int, "ray.ObjectRef[Block]"](), "get", key)
        try:
            return dict(zip(references, ray.get(list(references.values())), strict=True))
        except (ObjectLostError, OwnerDiedError):
            self._asked(None, "drop", key)
            return {}

    def _asked(self, otherwise: Answer, what: str, *given: Any) -> Answer:
        try:
            found: Answer = ray.get(getattr(self._keeper, what).remote(*given))
        except RayActorError:
            return otherwise
        return found


@contextmanager
def shared_store(options: Options) -> Iterator[SharedStore | None]:
    """Give a store to a run, for as long as it lasts; None where nothing is to be kept."""
    if options.use == "never":
        yield None
        return
    max_bytes = options.max_bytes or _budget()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper: Any = ray.remote(Keeper).options(num_cpus=0, scheduling_strategy=here).remote(max_bytes)
    try:
        yield SharedStore(keeper, max_bytes)
    finally:
        ray.kill(keeper)


def _budget() -> int:
    """Return the bytes that may be kept where the user sets no limit: any node may come to hold all of them."""
    memory = [node["object_store_memory"] for node in on_ray.nodes() if "object_store_memory" in node]
    return int(_SHARE * min(memory))
