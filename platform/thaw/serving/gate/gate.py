"""Gate: what stands in front of Ray's Python proxy: it bounds what is under way and repeats what a replica died of.

A replica that refuses has cost the proxy a hop, and callers who ask again at once would keep it busy with nothing else.
Here a refusal costs next to nothing, and the more there are, the longer each is held back: whoever asks again only when
told so is slowed down. What is held is bounded too; of a body that nobody reads the server keeps 64 KiB.

Ray's proxy on every node imports this, by the module beside it: it needs neither torch nor the rest of the package.
"""

import asyncio
import json
import math
import re
import time
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK = "thaw.serving.gate.on_ray:middlewares"
"""What Ray calls, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
VARIABLE = "THAW_SERVE_UNDER_WAY"
"""The variable that says how many requests a proxy lets through."""

PACE = 200.0
"""Refusals a second that nobody is held back for."""
LONGEST_S = 1.0
"""Most seconds that one is held back."""
MOST_HELD = 1000
"""Requests that are held back at once; those beyond are refused without delay."""
KEPT_BYTES = 2**20
"""What is kept of a request's body to send it again."""
RECEIVED_S = 30.0
"""Most seconds that a caller may take to send a request."""
WAITED_BYTES, MOST_WAITING_BYTES = 2**19, 2**26
"""What is received of a request before it takes a place, and of all requests together: whoever is slow to send, or
sends nothing at all, holds none as long as there is room for that."""
PAUSES_S = (0.0, 0.0, 0.1, 0.3, 1.0)
"""Seconds before each time that a request is sent; Ray takes a moment to learn that a replica is gone."""
QUICK_S = 0.05
"""What ends sooner reached no replica."""
REPLICAS = 2
"""Replicas that one request may reach: one that replicas die of must not go through all of them."""

_FOR_RAY = frozenset(
    {
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
        b"x-request-disconnect-disabled",
        b"x-request-timeout-seconds",
        b"x-session-id",
    }
)
"""Headers by which callers would steer Ray Serve itself: how long it waits, and which replica it chooses."""
_ID = b"x-request-id"

WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What ids and keys that callers give may be."""


def id_of(sent: str) -> str:
    """Return the id that a caller gave a request where it is a plain word, else a new one."""
    return sent if WORD.fullmatch(sent) else uuid.uuid4().hex


class Gate:
    """An ASGI application in front of another one; it bounds the requests with a body, and lets others through."""

    def __init__(self, app: ASGIApp, most: int, count: Callable[[str], None] | None = None) -> None:
        """Stand in front of an application.

        Args:
            most: requests that may be under way.
            count: is told the error of each request that is answered here.
        """
        self._app, self._most, self._count = app, most, count
        self._under_way = self._held = self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _meant_for_us(scope)
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        if self._under_way < self._most:
            await self._receive(body)
        if body.late or body.left:
            await self._unfinished(scope, body, send)
            return
        if self._under_way >= self._most:
            await self._hold()
            told = f"{self._most} requests are under way; send it again later"
            await self._problem(scope, send, 503, "overloaded", told)
            return
        self._under_way += 1
        try:
            await self._answer(scope, body, send)
        finally:
            self._under_way -= 1

    async def _receive(self, body: "_Body") -> None:
        """Receive a request before it takes a place, as far as there is room."""
        taken, body.ahead = 0, True
        try:
            while not body.ended and taken < WAITED_BYTES and self._waiting < MOST_WAITING_BYTES:
                await body()
                self._waiting += body.bytes - taken
                taken = body.bytes
        finally:
            self._waiting -= taken
        body.ahead = False
        body.again()

    async def _hold(self) -> None:
        if self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(min(LONGEST_S, self._held / PACE))
        finally:
            self._held -= 1

    async def _hold_outside(self) -> None:
        """Hold a refusal back while another request has its place."""
        self._under_way -= 1
        try:
            await self._hold()
        finally:
            self._under_way += 1

    async def _answer(self, scope: Scope, body: "_Body", send: Send) -> None:
        """Pass a request on, and again where nothing comes of it.

        Ray's proxy returns without a word when the replica ends that had the request. Answering an image changes
        nothing, and of what is told twice of an image the last counts.
        """
        begun, reached = False, 0

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            if message.get("status") == 503:  # of a replica that proxies of other nodes ask too
                await self._hold_outside()
            await send(message)

        for pause in PAUSES_S:
            await asyncio.sleep(pause)
            sent = time.monotonic()
            await self._app(dict(scope), body, noting)
            reached += time.monotonic() - sent > QUICK_S
            if begun or reached == REPLICAS or not body.again():
                break
        if begun:
            return
        if body.late or body.left:
            await self._unfinished(scope, body, send)
        else:
            told = "the replica that had this request ended before it answered; send it again"
            await self._problem(scope, send, 502, "replica_ended", told)

    async def _unfinished(self, scope: Scope, body: "_Body", send: Send) -> None:
        """Answer a request that did not come to its end, where somebody is there to hear it."""
        if body.late:
            await self._problem(scope, send, 408, "slow_body", f"the request was not whole after {RECEIVED_S:g} s")

    async def _problem(self, scope: Scope, send: Send, status: int, error: str, detail: str) -> None:
        if self._count:
            self._count(error)
        own = id_of(dict(scope["headers"]).get(_ID, b"").decode("latin-1"))
        body = json.dumps({"error": error, "detail": detail, "request_id": own}).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "retry-after": str(math.ceil(LONGEST_S)),
            "x-request-id": own,
        }
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})


class _Body:
    """What is received of a request; it can be received again as long as all of it is kept.

    Attributes:
        left: whether the caller has left.
        late: whether it took too long to send all of it.
        bytes: how many came.
        ahead: nobody has been given what comes, so all of it is kept.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive, self.left, self.late, self._whole = receive, False, False, False
        self._until, self.ahead = time.monotonic() + RECEIVED_S, False
        self._parts: list[Message] = []
        self.bytes = self._next = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more of it comes."""
        return self._whole or self.left or self.late

    async def __call__(self) -> Message:
        """Return the next message, of those that are kept where it is received again."""
        if self._next < len(self._parts):
            self._next += 1
            return self._parts[self._next - 1]
        message = await self._received()
        self.left = self.left or message["type"] == "http.disconnect"
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            self._keep(message)
        return message

    async def _received(self) -> Message:
        wait = None if self._whole else max(0.0, self._until - time.monotonic())
        try:
            return await asyncio.wait_for(self._receive(), wait)
        except TimeoutError:
            self.late = True
            return {"type": "http.disconnect"}

    def again(self) -> bool:
        """Begin anew, and return whether that can be: whether all that has been received is kept, and wanted."""
        self._next = 0
        return self._kept and not self.left

    @property
    def _kept(self) -> bool:
        return self.bytes <= KEPT_BYTES

    def _keep(self, message: Message) -> None:
        self.bytes += len(message.get("body", b""))
        if self._kept or self.ahead:
            self._parts.append(message)
            self._next = len(self._parts)
        else:
            self._parts.clear()
            self._next = 0


def _meant_for_us(scope: Scope) -> Scope:
    """Return a request without what is meant for Ray, and with an id that is a plain word, where it has one.

    Ray's proxy fails at ids that are no text.
    """
    sent = [(name, value) for name, value in scope["headers"] if name not in _FOR_RAY]
    plain = [(name, id_of(value.decode("latin-1")).encode() if name == _ID else value) for name, value in sent]
    return {**scope, "headers": plain}
