"""The images of one request, asked together."""

import asyncio

import pytest

from thaw.serving.api import several
from thaw.serving.api.contract import Answered, Asked, Refused, Seconds


class Trying:
    """An endpoint that tries version 5 beside version 4: it fails on some images, for which version 4 answers."""

    def __init__(self, broken: set[str], by_plan: dict[str, int] | None = None) -> None:
        self.broken, self.by_plan = broken, by_plan or {}

    async def answer(self, asked: Asked) -> Answered:
        version = asked.version or self.by_plan.get(asked.request_id, 5)
        if version == 5 and asked.request_id in self.broken:
            if asked.version:
                raise RuntimeError("broken")
            version = 4
        return Answered("m", version, asked.request_id, {}, {}, {}, Seconds(0, 0, 0, 1))


def _asked(*ids: str) -> list[Asked]:
    return [Asked(content=b"", request_id=one, route_key=one) for one in ids]


def _versions(endpoint: Trying, *ids: str) -> list[int]:
    return [one.version for one in asyncio.run(several.by_one_version(endpoint, _asked(*ids)))]


@pytest.mark.parametrize("broken", [{"a"}, {"b"}, {"a", "b"}])
def test_where_a_tried_version_fails_on_an_image_the_champion_answers_all(broken: set[str]) -> None:
    assert _versions(Trying(broken), "a", "b", "c") == [4, 4, 4]


def test_where_one_is_promoted_meanwhile_one_version_answers_all() -> None:
    assert len(set(_versions(Trying(set(), {"a": 4, "b": 5}), "a", "b"))) == 1


def test_what_is_refused_is_not_asked_of_others() -> None:
    class Refusing(Trying):
        async def answer(self, asked: Asked) -> Answered:
            if asked.version:
                raise Refused(503, "overloaded", "later")
            return await super().answer(asked)

    with pytest.raises(Refused):
        _versions(Refusing({"a"}), "a", "b")
