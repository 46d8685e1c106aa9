"""The process that keeps blocks: what it imports is little, so that it is soon there."""

from typing import TYPE_CHECKING

import ray

from thaw.training.frozen_prefix.claims import Claims, Spot
from thaw.training.frozen_prefix.shelf import Shelf

if TYPE_CHECKING:
    from thaw.training.frozen_prefix.blocks import Block


class Keeper:
    """References to blocks, in a process of its own."""

    def __init__(self, max_bytes: int) -> None:
        self._shelf: Shelf[ray.ObjectRef[Block]] = Shelf(max_bytes)
        self._claims = Claims()

    def put(self, key: str, place: int, block: "Block") -> None:
        self._shelf.put(key, place, block.nbytes, lambda: ray.put(block))
        self._claims.done((key, place))

    def get(self, key: str) -> "dict[int, ray.ObjectRef[Block]]":
        return self._shelf.get(key)

    def places(self, key: str) -> set[int]:
        return set(self._shelf.get(key))

    def drop(self, key: str) -> None:
        self._shelf.drop(key)

    def claim(self, name: str, wanted: list[Spot]) -> list[Spot]:
        return self._claims.claim(name, [spot for spot in wanted if spot[1] not in self._shelf.get(spot[0])])

    def release(self, name: str) -> None:
        self._claims.release(name)
