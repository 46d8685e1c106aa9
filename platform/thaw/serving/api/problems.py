"""Problems: everything that is refused, and every fault, answered in one form that tells nothing of the inside."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from thaw.data.quality import BadImage
from thaw.serving.api.asking import REQUEST_ID, request_id
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

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 404, 413, 415, 422, 503, 504)
}
"""What a request for answers may come to, for the OpenAPI document."""


def add(app: FastAPI) -> None:
    """Answer everything that is refused with a Problem."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return response(request, seen(error))

    for kind in (BadImage, RequestValidationError, Refused, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def seen(error: BaseException) -> Refused:
    """Return how an error is told to a caller."""
    if isinstance(error, Refused):
        return error
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
    if told.status == 500:
        _log.error("request %s failed", problem.request_id)
    sent = {REQUEST_ID: problem.request_id, **(headers or {})}
    if told.retry_after is not None:
        sent["retry-after"] = str(told.retry_after)
    return JSONResponse(problem.model_dump(), told.status, headers=sent)


def _wrong(error: RequestValidationError) -> str:
    """Return which parameter is wrong, and what is allowed."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {str(first['input'])[:80]!r}: {first['msg']}"
