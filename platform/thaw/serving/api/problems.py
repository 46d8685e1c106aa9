"""Problems: everything that is refused, and every fault, answered in one form that tells nothing of the inside."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thaw.data.quality import BadImage
from thaw.serving.api.asking import REQUEST_ID, gone, request_id
from thaw.serving.api.contract import Problem, Refused

_STATUS = {
    "empty": 400,
    "too_large": 413,
    "too_many_pixels": 413,
    "not_an_image": 415,
    "unsupported_format": 415,
}
_UNDECODABLE = 422
_FAULT = "the server failed; its log has the request id"

_log = logging.getLogger("thaw.serving")

Responses = dict[int | str, dict[str, Any]]
_RETRY_AFTER = {"retry-after": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}


def responses(*statuses: int) -> Responses:
    """Return the refusals that a request may come to, for the OpenAPI document."""
    return {status: {"model": Problem, "headers": _RETRY_AFTER if status == 429 else {}} for status in statuses}


ANYWHERE = responses(422, 500)
"""What every request may come to."""
GUARDED = responses(401, 403, 429)
"""What every request that asks for a key may come to beside."""
RESPONSES = responses(400, 404, 408, 413, 415, 422, 502, 503, 504)
"""What a request for answers may come to; 408 and 502 are of what stands in front of the replicas."""


def add(app: FastAPI) -> None:
    """Answer everything that is refused with a Problem."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return response(request, seen(error), getattr(error, "headers", None))  # such as which methods are allowed

    for kind in (BadImage, ClientDisconnect, RequestValidationError, Refused, HTTPException, Exception):
        app.add_exception_handler(kind, refused)
    app.add_middleware(Faults)


class Faults:
    """An ASGI application in front of another one, whose faults it answers: inside of what counts and marks responses.

    Without it a fault goes past all of that to the outermost layer, which answers in the same form.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; what has begun to be answered cannot be mended."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            request = Request(scope)
            _log.exception("request %s failed", request_id(request))
            await response(request, seen(error))(scope, receive, send)


def seen(error: BaseException) -> Refused:
    """Return how an error is told to a caller."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ClientDisconnect):
        return gone()
    if isinstance(error, BadImage):
        return Refused(_STATUS.get(error.reason, _UNDECODABLE), error.reason, error.detail)
    if isinstance(error, RequestValidationError):
        return Refused(_UNDECODABLE, "bad_parameter", _wrong(error))
    if isinstance(error, HTTPException):
        return Refused(error.status_code, f"http_{error.status_code}", str(error.detail))
    return Refused(500, "http_500", _FAULT)


def response(request: Request, told: Refused, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a refusal as it is sent.

    Args:
        headers: beside those that every refusal has.
    """
    problem = Problem(error=told.error, detail=told.detail, request_id=request_id(request))
    sent = {REQUEST_ID: problem.request_id, **(headers or {})}
    if told.retry_after is not None:
        sent["retry-after"] = str(told.retry_after)
    return JSONResponse(problem.model_dump(), told.status, headers=sent)


def _wrong(error: RequestValidationError) -> str:
    """Return which parameter is wrong, and what is allowed."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {str(first['input'])[:80]!r}: {first['msg']}"
