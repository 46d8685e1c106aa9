"""Gate: how many requests Ray's Python proxy has under way; those beyond are refused before anything is passed on.

A replica that refuses has cost the proxy a hop, and callers who ask again at once would keep it busy with nothing else.
Here a refusal costs next to nothing, and the more there are, the longer each is held back: whoever asks again only when
told so is slowed down. What is held is bounded too; of a body that nobody reads the server keeps 64 KiB.

Ray imports this in its proxy on every node: it needs neither torch nor the rest of the package.
"""

import asyncio
import json
import math
import os
import uuid

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CALLBACK = "thaw.serving.gate:middlewares"
"""What Ray calls, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
VARIABLE = "THAW_SERVE_UNDER_WAY"
"""The variable that says how many requests a proxy lets through."""

PACE = 200.0
"""Refusals a second that nobody is held back for."""
LONGEST_S = 1.0
"""Most seconds that one is held back."""
MOST_HELD = 1000
"""Requests that are held back at once; those beyond are refused without delay."""


def middlewares() -> list[Middleware]:
    """Return what Ray puts in front of its proxy; nothing where the variable is not set."""
    most = os.environ.get(VARIABLE, "")
    return [Middleware(Gate, most=int(most))] if most else []


class Gate:
    """An ASGI application in front of another one; it bounds the requests with a body, and lets others through."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most
        self._under_way = self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            await self._hold()
            await _refuse(send, self._most)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _hold(self) -> None:
        if self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(min(LONGEST_S, self._held / PACE))
        finally:
            self._held -= 1


async def _refuse(send: Send, most: int) -> None:
    own = uuid.uuid4().hex
    told = f"{most} requests are under way; send it again later"
    body = json.dumps({"error": "overloaded", "detail": told, "request_id": own}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "retry-after": str(math.ceil(LONGEST_S)),
        "x-request-id": own,
    }
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 503, "headers": sent})
    await send({"type": "http.response.body", "body": body})
