"""The HTTP interface: what comes in, what goes out, and what is refused with which status.

It knows nothing of Ray and nothing of tasks: an endpoint turns encoded images into answers, and an answer is
served as its task shaped it.
"""

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, create_model
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from swagger_ui_bundle import swagger_ui_path

import thaw
from thaw.config.experiment import Limits
from thaw.data.quality import BadImage
from thaw.tasks.contract import Answer, Masks

_STATUS = {
    "empty": 400,
    "too_large": 413,
    "too_many_pixels": 413,
    "not_an_image": 415,
    "unsupported_format": 415,
}
_UNDECODABLE = 422
_ENVELOPE_BYTES = 64 * 2**10
"""What a multipart body may hold besides its image."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Endpoint(Protocol):
    """Whatever answers: a Ray Serve replica, or a bundle in this process."""

    model: str
    version: int
    limits: Limits
    answer_types: Mapping[str, type[Answer]]

    async def answer(self, content: bytes, masks: Masks) -> dict[str, Any]:
        """Return every task's answer to one encoded image as JSON values, with masks in the form asked for.

        Raises:
            BadImage: the image cannot be decoded within the limits.
        """


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    """A short code that programs can rely on."""
    detail: str
    """What is wrong and what is allowed."""
    request_id: str


class ModelFacts(BaseModel):
    """Which model answers."""

    model: str
    version: int
    tasks: tuple[str, ...]
    thaw_version: str


class _RefusedError(Exception):
    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


def build_app(endpoint: Endpoint) -> FastAPI:
    """Return the web application in front of an endpoint."""
    app = FastAPI(title=f"Thaw: {endpoint.model}", version=str(endpoint.version), docs_url=None, redoc_url=None)
    app.openapi_version = "3.0.3"  # the newest that the Swagger UI packaged for Python can show
    _add_problems(app)
    _add_facts(app, endpoint)
    _add_docs(app)
    answered = _answered_type(endpoint)
    refused: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in sorted({*_STATUS.values(), _UNDECODABLE})
    }

    @app.post(
        "/predict",
        response_model=answered,
        responses=refused,
        openapi_extra=_BODY,
        summary="Answer one image",
    )
    async def predict(request: Request, masks: Annotated[Masks, _MASKS] = "rle") -> JSONResponse:
        """Answer every task for one image, sent as the body itself or as a file of a multipart form."""
        content = await _image(request, endpoint.limits.max_bytes)
        answers = await endpoint.answer(content, masks)
        told = {"model": endpoint.model, "version": endpoint.version, "request_id": _request_id(request)}
        return JSONResponse({**told, "answers": answers}, headers={"x-request-id": _request_id(request)})

    return app


_MASKS = Query(
    description="How masks are answered: rle, as COCO run lengths by class; png, as one picture of class indices; "
    "none, leaving them out."
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"type": "object", "required": ["image"], "properties": {"image": _BINARY["schema"]}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


def _answered_type(endpoint: Endpoint) -> type[BaseModel]:
    """Return the shape of an answer to a request, for the OpenAPI document."""
    tasks: dict[str, Any] = {task: (reduce(or_, kind.forms()), ...) for task, kind in endpoint.answer_types.items()}
    answers = create_model("Answers", **tasks)
    return create_model("Answered", model=(str, ...), version=(int, ...), request_id=(str, ...), answers=(answers, ...))


def _add_facts(app: FastAPI, endpoint: Endpoint) -> None:
    @app.get("/healthz", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v2/health/ready", summary="Whether the model is loaded and has answered once")
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # a replica takes requests only after its constructor has warmed the model up

    @app.get("/", summary="Which model answers here")
    async def facts() -> ModelFacts:
        tasks = tuple(endpoint.answer_types)
        return ModelFacts(model=endpoint.model, version=endpoint.version, tasks=tasks, thaw_version=thaw.__version__)


def _add_docs(app: FastAPI) -> None:
    """Serve Swagger UI from this process: the usual one is fetched from a CDN, which many clusters cannot reach."""
    app.mount("/docs/static", StaticFiles(directory=swagger_ui_path), name="docs")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        base = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{base}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{base}/docs/static/swagger-ui-bundle.js",
            swagger_css_url=f"{base}/docs/static/swagger-ui.css",
            swagger_favicon_url=f"{base}/docs/static/favicon-32x32.png",
        )


def _add_problems(app: FastAPI) -> None:
    """Answer everything that is refused with a Problem."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, BadImage):
            return _problem(request, _STATUS.get(error.reason, _UNDECODABLE), error.reason, error.detail)
        if isinstance(error, RequestValidationError):
            return _problem(request, _UNDECODABLE, "bad_parameter", _wrong(error))
        if isinstance(error, _RefusedError):
            return _problem(request, error.status, error.error, error.detail)
        status, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (500, "")
        return _problem(request, status, f"http_{status}", detail or "the server failed; its log has the request id")

    for kind in (BadImage, RequestValidationError, _RefusedError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def _wrong(error: RequestValidationError) -> str:
    """Return which parameter is wrong, and what is allowed."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {str(first['input'])[:80]!r}: {first['msg']}"


def _problem(request: Request, status: int, error: str, detail: str) -> JSONResponse:
    problem = Problem(error=error, detail=detail, request_id=_request_id(request))
    return JSONResponse(problem.model_dump(), status, headers={"x-request-id": problem.request_id})


def _request_id(request: Request) -> str:
    """Return the caller's request id where it is a plain word, else one made once for this request."""
    if not hasattr(request.state, "request_id"):
        sent = request.headers.get("x-request-id", "")
        request.state.request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    return str(request.state.request_id)


async def _image(request: Request, max_bytes: int) -> bytes:
    """Return the encoded image in a request, never reading more than is allowed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        content = await _file(request, max_bytes)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        content = b"".join([chunk async for chunk in _bounded(request, max_bytes)])
    else:
        raise _RefusedError(
            415,
            "unsupported_media_type",
            f"content-type {kind[:80] or 'missing'!r}: send image/*, application/octet-stream or multipart/form-data",
        )
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


async def _bounded(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def _file(request: Request, max_bytes: int) -> bytes:
    """Return the one file of a multipart form."""
    body = b"".join([chunk async for chunk in _bounded(request, max_bytes + _ENVELOPE_BYTES)])

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(max_files=1, max_fields=8) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if files:
                return await files[0].read()
    except (MultiPartException, HTTPException, KeyError, ValueError) as error:
        raise _RefusedError(400, "bad_form", f"the multipart form cannot be read: {error}") from None
    raise _RefusedError(400, "bad_form", "the multipart form holds no file; send the image as the file field 'image'")


def _too_large(max_bytes: int) -> _RefusedError:
    return _RefusedError(413, "too_large", f"the image is larger than the {max_bytes} bytes that are allowed")
