"""What is known of the store's models stays known while the store does not answer."""

import asyncio
import time

import pytest

import stored as made
from thaw.errors import StorageError
from thaw.registry import store
from thaw.serving import directory
from thaw.serving.api.contract import Refused
from thaw.serving.directory import Directory
from thaw.storage import Root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Root:
    found = made.stored(tmp_path_factory.mktemp("stored"))
    store.set_alias(found.root, "colours", "champion", 1)
    return found.root


class Looks:
    """Looks into the store, which may fail or hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fails, self.hangs_s, self._versions = 0, False, 0.0, store.versions
        monkeypatch.setattr(directory.store, "versions", self)

    def __call__(self, root: Root, name: str) -> list[int]:
        self.count += 1
        time.sleep(self.hangs_s)
        if self.fails:
            raise StorageError("no route to the store")
        return self._versions(root, name)


@pytest.fixture
def looks(monkeypatch) -> Looks:
    return Looks(monkeypatch)


def use(root: Root, scenario, follow_seconds: float = 0.01):
    async def whole():
        return await asyncio.wait_for(scenario(Directory(root, frozenset({"colours"}), follow_seconds)), 30)

    return asyncio.run(whole())


def test_what_was_known_stays_known_while_the_store_fails(root, looks):
    async def scenario(known):
        before = await known.versions("colours")
        looks.fails = True
        await asyncio.sleep(0.02)
        return before, [await known.versions("colours") for _ in range(3)]

    before, later = use(root, scenario)
    assert later == [before] * 3 == [(1,)] * 3


def test_what_was_not_known_cannot_be_told_then_and_is_later(root, looks):
    async def scenario(known):
        looks.fails = True
        with pytest.raises(Refused) as refused:
            await known.versions("colours")
        looks.fails = False
        return refused.value, await known.versions("colours")

    refused, later = use(root, scenario)
    assert (refused.status, refused.error, refused.retry_after) == (503, "store_unreachable", 1)
    assert later == (1,)


def test_what_is_not_there_is_said_to_be_missing(root):
    async def scenario(known):
        with pytest.raises(Refused) as refused:
            await known.facts("colours", 9)
        return refused.value.status, refused.value.error

    assert use(root, scenario) == (404, "no_such_model")


def test_a_model_that_nothing_was_promoted_of_is_said_to_be_missing(root, monkeypatch):
    async def scenario(known):
        with pytest.raises(Refused) as refused:
            await known.champion("colours")
        return refused.value.status

    monkeypatch.setattr(store, "aliases", lambda *_: {})
    assert use(root, scenario) == 404


def test_a_store_that_hangs_is_waited_for_no_longer_than_a_moment(root, looks, monkeypatch):
    monkeypatch.setattr(directory, "_PATIENCE_S", 0.05)

    async def scenario(known):
        await known.versions("colours")
        looks.hangs_s = 1.0
        await asyncio.sleep(0.02)
        began = time.monotonic()
        return await known.versions("colours"), time.monotonic() - began

    found, took_s = use(root, scenario)
    assert found == (1,)
    assert took_s < 0.5


def test_those_who_ask_at_the_same_time_share_one_look(root, looks):
    async def scenario(known):
        looks.hangs_s = 0.05
        return await asyncio.gather(*(known.versions("colours") for _ in range(20)))

    assert use(root, scenario, follow_seconds=60) == [(1,)] * 20
    assert looks.count == 1
