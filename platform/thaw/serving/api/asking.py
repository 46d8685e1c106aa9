"""Asking: what a request says beside its images, and answers for as long as somebody waits for them."""

import asyncio
import re
import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from fastapi import Request
from starlette.requests import HTTPConnection

from thaw.serving.api.contract import Asked, Endpoint, Refused
from thaw.serving.gate.gate import WORD, id_of
from thaw.tasks.contract import Masks

REQUEST_ID, ROUTE_KEY, DEADLINE = "x-request-id", "x-route-key", "x-deadline-ms"
"""Headers that a request may have."""
MODEL_VERSION = "x-model-version"
"""Header of an answer: ``name/version`` of the model that gave it."""
TIMING = "server-timing"
"""Header of the answer to one image: what it took, by what was done."""

PARAMETERS = {
    "parameters": [
        {"in": "header", "name": name, "required": False, "description": meaning, "schema": schema}
        for name, meaning, schema in (
            (REQUEST_ID, "Is told in the answer; another one is where this is no plain word.", {"type": "string"}),
            (
                ROUTE_KEY,
                "Requests with the same one are answered by the same version while one is tried on a share of them.",
                {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            ),
            (
                DEADLINE,
                "Milliseconds after which an answer is of no more use.",
                {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            ),
        )
    ]
}
"""What the OpenAPI document says of these headers."""
HEADERS = {
    name: {"description": meaning, "schema": {"type": "string"}}
    for name, meaning in ((REQUEST_ID, "That of the request."), (MODEL_VERSION, "NAME/VERSION of what answered."))
}
"""What it says of those of an answer."""

_GONE = 499
"""Status for a caller who has left; nobody reads it but logs."""
_T = TypeVar("_T")


def request_id(request: HTTPConnection) -> str:
    """Return the caller's request id where it is a plain word, else one made once for this request."""
    if not hasattr(request.state, "request_id"):
        request.state.request_id = id_of(request.headers.get(REQUEST_ID, ""))
    return str(request.state.request_id)


def began(request: HTTPConnection) -> float:
    """Return when a request was first looked at, by `time.monotonic`; deadlines count from then."""
    if not hasattr(request.state, "began"):
        request.state.began = time.monotonic()
    return float(request.state.began)


def asked(
    request: Request,
    endpoint: Endpoint,
    images: Sequence[bytes],
    masks: Masks = "rle",
    model: str | None = None,
    version: int | None = None,
) -> list[Asked]:
    """Return what a request asks for, image by image; of several, each has an id of its own.

    Raises:
        Refused: a header is not what it may be.
    """
    own, key, deadline = request_id(request), _route_key(request), _deadline(request, endpoint.settings.timeout_s)
    ids = [own] if len(images) == 1 else [f"{own}-{place}" for place in range(len(images))]
    return [Asked(content, one, key, masks, model, version, deadline) for one, content in zip(ids, images, strict=True)]


async def while_wanted(request: Request, answer: Awaitable[_T]) -> _T:
    """Return what is awaited, or cancel it when the caller leaves; the body of the request has been read.

    Raises:
        Refused: the caller has left.
    """
    work = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise gone()
    finally:
        work.cancel()
        leaving.cancel()


def gone() -> Refused:
    """Return what a request comes to whose caller has left."""
    return Refused(_GONE, "gone", "the caller has left before the answer was there")


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _route_key(request: Request) -> str:
    """Return the caller's route key, else the request's id: by the few API keys there are, no share could be drawn."""
    sent = request.headers.get(ROUTE_KEY)
    if sent is not None and not WORD.fullmatch(sent):
        raise Refused(400, "bad_header", f"{ROUTE_KEY}: 1 to 64 of letters, digits, '.', '_' and '-' are allowed")
    return sent or request_id(request)


def _deadline(request: Request, timeout_s: float) -> float:
    sent = request.headers.get(DEADLINE)
    if sent is not None and not re.fullmatch(r"[1-9]\d{0,8}", sent):
        raise Refused(400, "bad_header", f"{DEADLINE}: a whole number of milliseconds above 0 is needed")
    wanted = int(sent) / 1000 if sent else timeout_s
    return began(request) + min(wanted, timeout_s)
