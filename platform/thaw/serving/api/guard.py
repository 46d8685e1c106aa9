"""Guard: who may ask, and how often; before anything of a request is read but its head.

Everything asks for a key but what says whether the process lives, and the page that a person types a key into, which
says nothing of the model. What lies below ``/admin/`` asks for one of scope admin, and is written down.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thaw.serving import audit
from thaw.serving.api import problems
from thaw.serving.api.contract import Refused
from thaw.serving.keys import Key, Keyring
from thaw.serving.page import routes
from thaw.serving.rate import Buckets, Rate

OPEN = frozenset({"/healthz", "/v2/health/live", "/v2/health/ready"})
"""Paths that ask for no key, beside those of the page."""
ADMIN = "/admin/"
"""How paths begin that change what answers."""

_CHALLENGE = 'Bearer realm="thaw"'
_ERRORS = {"unknown_key": "invalid_token", "wrong_scope": "insufficient_scope"}
"""Code of a Problem -> that of RFC 6750."""


class Guard:
    """An ASGI application in front of another one."""

    def __init__(self, app: ASGIApp, keyring: Keyring, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._keyring, self._clock = app, keyring, clock
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or _is_open(Request(scope), path):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            name = self._admit(request.headers.get("authorization", ""), path)
        except Refused as refused:
            await _refusal(request, refused)(scope, receive, send)
            return
        request.state.key_name = name
        if path.startswith(ADMIN):
            send = _audited(request.method, path, name, send)
        await self._app(scope, receive, send)

    def _admit(self, header: str, path: str) -> str:
        """Return the name of the key that is shown.

        Raises:
            Refused: it is none, may not do this, or does it too often.
        """
        name, key = self._shown(header)
        if path.startswith(ADMIN) and key.scope != "admin":
            raise Refused(403, "wrong_scope", f"key {name} has the scope {key.scope}; this needs admin")
        wait_s = self._buckets.take(name, Rate.of(key.rate), self._clock()) if key.rate else 0.0
        if wait_s:
            told = f"key {name} may ask {key.rate} at each replica; wait before the next request"
            raise Refused(429, "too_often", told, retry_after=math.ceil(wait_s))
        return name

    def _shown(self, header: str) -> tuple[str, Key]:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "no_key", "send a key as the header authorization: Bearer KEY")
        known = self._keyring.keys
        name = known.find(token.strip(), datetime.now(UTC))
        if name is None:
            raise Refused(401, "unknown_key", "this key is not known, or no more")
        return name, known.keys[name]


def _is_open(request: Request, path: str) -> bool:
    page = request.method in ("GET", "HEAD") and routes.is_page(path, request.headers.get("accept", ""))
    return path in OPEN or page


def _refusal(request: Request, refused: Refused) -> ASGIApp:
    if refused.status == 429:
        return problems.response(request, refused)
    error = f', error="{_ERRORS[refused.error]}"' if refused.error in _ERRORS else ""
    return problems.response(request, refused, {"www-authenticate": _CHALLENGE + error})


def _audited(method: str, path: str, name: str, send: Send) -> Send:
    """Return a way to send that writes down what an answer came to."""

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            audit.note(f"http {method}", name, path=path[:200], status=message["status"])
        await send(message)

    return noting
