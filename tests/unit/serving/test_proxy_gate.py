"""The gate in front of Ray's proxy: so many requests pass; those beyond are refused, and held back as they grow."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

from thaw.serving.gate import gate
from thaw.serving.gate.gate import Gate
from thaw.serving.gate.on_ray import middlewares


class Proxy:
    """An ASGI application that answers when it is let to."""

    def __init__(self):
        self.asked, self.open = 0, asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.asked += 1
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})


async def ask(app, method="POST", receive=None, headers=()):
    """Return status, headers and body of one request."""
    told = []

    async def send(message):
        told.append(message)

    await app({"type": "http", "method": method, "headers": list(headers)}, receive or _nothing, send)
    back = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], back, told[1]["body"]


async def begun(proxy, count):
    while proxy.asked < count:
        await asyncio.sleep(0)


@pytest.fixture
def at_once(monkeypatch):
    """Refusals are not held back."""
    monkeypatch.setattr(gate, "LONGEST_S", 0.0)


def test_what_is_beyond_the_bound_is_refused_and_not_passed_on(at_once):
    async def scenario():
        proxy = Proxy()
        app = Gate(proxy, most=2)
        first = [asyncio.create_task(ask(app)) for _ in range(2)]
        await begun(proxy, 2)
        refused = await ask(app)
        proxy.open.set()
        return proxy.asked, refused, [status for status, *_ in await asyncio.gather(*first)], await ask(app)

    asked, (status, headers, body), answered, later = asyncio.run(scenario())
    assert (asked, answered, later[0]) == (2, [200, 200], 200)
    assert status == 503
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["error"] == "overloaded"
    assert headers["x-request-id"] == json.loads(body)["request_id"]


def test_what_it_answers_itself_is_counted_by_its_error(at_once):
    counted = []
    proxy = Proxy()
    proxy.open.set()
    asyncio.run(ask(Gate(proxy, most=1, count=counted.append)))
    assert counted == []
    asyncio.run(ask(Gate(proxy, most=0, count=counted.append)))
    assert counted == ["overloaded"]


def test_a_refusal_says_when_to_ask_again():
    async def scenario():
        app = Gate(Proxy(), most=0)
        return await ask(app)

    assert int(asyncio.run(scenario())[1]["retry-after"]) >= gate.LONGEST_S


@pytest.mark.parametrize(("sent", "kept"), [(b"own.id-1", True), (b'a"b', False), (b"", False), (b"a" * 65, False)])
def test_a_refusal_has_the_id_that_the_caller_gave_where_it_is_a_plain_word(at_once, sent, kept):
    _, headers, body = asyncio.run(ask(Gate(Proxy(), most=0), headers=[(b"x-request-id", sent)]))
    assert headers["x-request-id"] == json.loads(body)["request_id"]
    assert (headers["x-request-id"] == sent.decode()) == kept


def test_what_a_replica_refuses_is_held_back_too(monkeypatch):
    monkeypatch.setattr(gate, "PACE", 10.0)

    async def busy(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    began = time.monotonic()
    assert asyncio.run(ask(Gate(busy, most=1)))[0] == 503
    assert time.monotonic() - began >= 0.1


def test_requests_without_a_body_always_pass(at_once):
    async def scenario():
        proxy = Proxy()
        proxy.open.set()
        return (await ask(Gate(proxy, most=0), "GET"))[0]

    assert asyncio.run(scenario()) == 200


def test_a_request_that_fails_or_whose_caller_leaves_gives_its_place_back(at_once):
    async def broken(scope, receive, send):
        raise ValueError("it broke")

    async def scenario():
        app, proxy = Gate(broken, most=1), Proxy()
        for _ in range(2):
            with pytest.raises(ValueError):
                await ask(app)
        app = Gate(proxy, most=1)
        leaving = asyncio.create_task(ask(app))
        await begun(proxy, 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        proxy.open.set()
        return (await ask(app))[0]

    assert asyncio.run(scenario()) == 200


def test_the_more_are_refused_the_longer_each_is_held_back_but_so_many_and_no_more(monkeypatch):
    monkeypatch.setattr(gate, "PACE", 100.0)
    monkeypatch.setattr(gate, "LONGEST_S", 0.2)
    monkeypatch.setattr(gate, "MOST_HELD", 30)

    async def scenario():
        app = Gate(Proxy(), most=0)

        async def took():
            began = time.monotonic()
            await ask(app)
            return time.monotonic() - began

        return await asyncio.gather(*(took() for _ in range(40)))

    seconds = asyncio.run(scenario())
    held = [(min(0.2, (place + 1) / 100) if place < 30 else 0.0) for place in range(40)]
    assert all(one >= wanted for one, wanted in zip(seconds, held, strict=True))
    assert max(seconds[30:]) < seconds[10], "those beyond the bound are told at once"


class Dying:
    """An ASGI application that reads and returns without a word, as Ray's does, before it answers with what it read."""

    def __init__(self, times, parts=None):
        self.times, self.parts, self.asked = times, parts, 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        assert "seen" not in scope
        scope["seen"] = True  # what one attempt does to it is not the next one's
        read, message = [], {"more_body": True}
        while message.get("more_body") and (self.parts is None or len(read) < self.parts or self.asked > self.times):
            message = await receive()
            read.append(message.get("body", b""))
        if self.asked > self.times:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"".join(read)})


def sent(parts):
    """Return what receives a body in parts, and then that the caller has left."""
    messages = [
        {"type": "http.request", "body": part, "more_body": place < len(parts) - 1} for place, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


@pytest.mark.parametrize("read", [None, 0, 1, 2])
def test_a_request_of_which_nothing_comes_is_sent_again_whole_however_much_of_it_was_read(read):
    proxy = Dying(2, read)
    status, _, body = asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"one", b"two", b"three"])))
    assert (status, body, proxy.asked) == (200, b"onetwothree", 3)


def test_one_that_nobody_answers_is_told_so_in_the_end(monkeypatch):
    monkeypatch.setattr(gate, "PAUSES_S", (0.0, 0.0))
    proxy = Dying(9)
    status, headers, body = asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"body"])))
    assert (status, json.loads(body)["error"], proxy.asked) == (502, "replica_ended", 2)
    assert headers["retry-after"]


def test_one_that_is_larger_than_what_is_kept_is_not_sent_again(monkeypatch):
    monkeypatch.setattr(gate, "KEPT_BYTES", 7)
    proxy = Dying(1)
    assert asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"1234", b"567"])))[2] == b"1234567"
    proxy = Dying(1)
    assert asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"1234", b"5678"])))[0] == 502
    assert proxy.asked == 1
    proxy = Dying(0)
    assert asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"1234", b"5678"])))[2] == b"12345678"


def test_one_whose_caller_has_left_is_not_sent_again():
    async def gone(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        asked.append(scope)

    asked = []
    with pytest.raises(IndexError):  # nothing was told
        asyncio.run(ask(Gate(gone, most=1), receive=sent([b"body"])))
    assert len(asked) == 1


def test_ray_is_given_a_gate_where_the_variable_says_how_many(monkeypatch):
    monkeypatch.delenv(gate.VARIABLE, raising=False)
    assert middlewares() == []
    monkeypatch.setenv(gate.VARIABLE, "48")
    [one] = middlewares()
    assert (one.cls, one.kwargs["most"]) == (Gate, 48)


def test_the_proxy_imports_nothing_heavy_for_it():
    code = (
        "import sys, ray; before = set(sys.modules); import thaw.serving.gate.on_ray; "
        "print([name for name in ('torch', 'fastapi', 'numpy') if name in set(sys.modules) - before])"
    )
    own = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert done.stdout.strip() == "[]"


def test_what_steers_ray_itself_does_not_reach_it_and_ids_are_plain_words():
    seen = []

    async def proxy(scope, _receive, send):
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ours = {b"x-route-key": b"camera", b"content-type": b"image/png"}
    rays = {b"x-request-timeout-seconds": b"9999", b"serve_multiplexed_model_id": b"other", b"x-session-id": b"1"}
    for method in ("GET", "POST"):
        headers = {**ours, **rays, b"x-request-id": "né".encode()}
        asyncio.run(ask(Gate(proxy, most=2), method, _nothing, headers.items()))
        asyncio.run(ask(Gate(proxy, most=2), method, _nothing, {b"x-request-id": b"mine"}.items()))
        broken, plain = seen[-2:]
        assert gate.WORD.fullmatch(broken.pop(b"x-request-id").decode())
        assert broken == ours
        assert plain == {b"x-request-id": b"mine"}


async def _nothing():
    return {"type": "http.request", "body": b"", "more_body": False}


def test_who_sends_no_body_for_too_long_gives_the_place_back(monkeypatch):
    monkeypatch.setattr(gate, "RECEIVED_S", 0.1)

    async def reads(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def stalled():
        await asyncio.Event().wait()

    async def scenario():
        app = Gate(reads, most=1)
        return await ask(app, receive=stalled), app._under_way

    (status, _, body), under_way = asyncio.run(scenario())
    assert (status, json.loads(body)["error"], under_way) == (408, "slow_body", 0)


def test_who_sends_nothing_holds_no_place(at_once):
    async def stalled():
        await asyncio.Event().wait()

    async def scenario():
        proxy = Proxy()
        proxy.open.set()
        app = Gate(proxy, most=2)
        silent = [asyncio.create_task(ask(app, receive=stalled)) for _ in range(50)]
        await asyncio.sleep(0)
        status, *_ = await ask(app)
        for one in silent:
            one.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        return status, app._under_way, app._waiting

    assert asyncio.run(scenario()) == (200, 0, 0)


def test_where_there_is_no_room_to_wait_a_slow_request_takes_a_place(monkeypatch):
    monkeypatch.setattr(gate, "MOST_WAITING_BYTES", 8)

    async def first_bytes():
        if not came:
            came.append(1)
            return {"type": "http.request", "body": b"12345678", "more_body": True}
        return await asyncio.Event().wait()

    async def reads(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def scenario():
        app = Gate(reads, most=1)
        slow = asyncio.create_task(ask(app, receive=first_bytes))
        await asyncio.sleep(0.05)
        kept = app._waiting, app._under_way
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        return kept, app._under_way

    came = []
    assert asyncio.run(scenario()) == ((0, 1), 0)


def test_a_large_request_reaches_the_proxy_whole(monkeypatch):
    monkeypatch.setattr(gate, "WAITED_BYTES", 6)
    monkeypatch.setattr(gate, "KEPT_BYTES", 4)
    proxy = Dying(0)
    assert asyncio.run(ask(Gate(proxy, most=1), receive=sent([b"12345678", b"9"])))[2] == b"123456789"


def test_a_request_that_replicas_die_of_reaches_two_of_them_and_no_more(monkeypatch):
    monkeypatch.setattr(gate, "PAUSES_S", (0.0,) * 9)
    reached = []

    async def dies(scope, receive, send):
        reached.append(await receive())
        await asyncio.sleep(gate.QUICK_S * 1.5)

    status, *_ = asyncio.run(ask(Gate(dies, most=1), receive=_nothing))
    assert (status, len(reached)) == (502, gate.REPLICAS)


def test_a_refusal_of_a_replica_is_held_back_outside(monkeypatch):
    monkeypatch.setattr(gate, "PACE", 5.0)
    answers = iter((503, 200))

    async def busy(scope, receive, send):
        await send({"type": "http.response.start", "status": next(answers), "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario():
        app = Gate(busy, most=1)
        refused = asyncio.create_task(ask(app))
        await asyncio.sleep(0.05)
        answered = await ask(app)
        return (await refused)[0], answered[0], app._under_way

    assert asyncio.run(scenario()) == (503, 200, 0)
