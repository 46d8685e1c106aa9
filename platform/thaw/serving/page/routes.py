"""Routes: the page at `/`, its files, and the model card. Programs that ask at `/` get facts instead."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from thaw.serving.api import problems
from thaw.serving.api.contract import Endpoint, Facts, Refused
from thaw.serving.page import card, files

_ALLOWED = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _ALLOWED,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
    "vary": "accept",
}
_FILES, _HTML, _MARKDOWN = "/page/", "text/html", "text/markdown"
_KEPT = {"x-content-type-options": "nosniff", "cache-control": "public, max-age=31536000, immutable"}
_Name = Annotated[str | None, Query(description="Name of a model; left out, the one that answers here.")]
_Version = Annotated[int | None, Query(ge=1, le=10**9, description="Its version; left out, the one that answers.")]


def router(endpoint: Endpoint) -> APIRouter:
    """Return the ways to what people look at."""
    made, unknown = APIRouter(), problems.responses(404)
    kept = files.read()
    folder = f"{_FILES}{kept.stamp}".removeprefix("/")
    shown = files.document(files=folder, max_bytes=str(endpoint.settings.limits.max_bytes))

    @made.get(
        "/",
        name="facts",
        response_model=Facts,
        responses=unknown | {200: {"content": {_HTML: {}}}},
        summary="Which model answers here; for browsers a page to try it on",
    )
    async def front(request: Request, model: _Name = None, version: _Version = None) -> Response:
        if is_page("/", request.headers.get("accept", "")):
            return HTMLResponse(shown, headers=_HEADERS)
        facts = await endpoint.facts(model, version)
        return JSONResponse(facts.model_dump(mode="json"), headers={"vary": "accept"})

    @made.get("/page/{stamp}/{name}", include_in_schema=False)
    async def file(stamp: str, name: str) -> Response:
        found = kept.by_name.get(name)
        if found is None:
            raise Refused(404, "http_404", "the page has no such file")
        headers = _KEPT if stamp == kept.stamp else {**_KEPT, "cache-control": "no-store"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    @made.get(
        "/card",
        name="card",
        response_class=Response,
        responses=unknown | {200: {"content": {kind: {"schema": {"type": "string"}} for kind in (_MARKDOWN, _HTML)}}},
        summary="The model card, as Markdown; for browsers as a page",
    )
    async def model_card(request: Request, model: _Name = None, version: _Version = None) -> Response:
        found = await endpoint.card(model, version)
        if _HTML in request.headers.get("accept", ""):
            return HTMLResponse(card.page(f"{found.model}/{found.version}", found.text, folder), headers=_HEADERS)
        return PlainTextResponse(found.text, media_type=_MARKDOWN, headers={"vary": "accept"})

    return made


def is_page(path: str, accept: str) -> bool:
    """Return whether a request is for the page itself, which says nothing of the model: it asks people for their key.

    Args:
        path, accept: of the request.
    """
    return path.startswith(_FILES) or (path == "/" and _HTML in accept)
