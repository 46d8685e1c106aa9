"""Routes: the page at `/`, its files, and the model card. Programs that ask at `/` get facts instead."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from thaw.serving.api.contract import Endpoint, Facts, Refused
from thaw.serving.page import card, files

FILES = "/page/"
"""How the paths of the page's own files begin."""

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
_KEPT = {"x-content-type-options": "nosniff", "cache-control": "public, max-age=31536000, immutable"}


def router(endpoint: Endpoint) -> APIRouter:
    """Return the ways to what people look at."""
    made = APIRouter()
    kept = files.read()
    folder = f"page/{kept.stamp}"
    shown = files.document(files=folder, max_bytes=str(endpoint.settings.limits.max_bytes))

    @made.get("/", response_model=Facts, summary="Which model answers here; for browsers a page to try it on")
    async def front(request: Request) -> Response:
        if wants_html(request):
            return HTMLResponse(shown, headers=_HEADERS)
        facts = await endpoint.facts()
        return JSONResponse(facts.model_dump(mode="json"), headers={"vary": "accept"})

    @made.get("/page/{stamp}/{name}", include_in_schema=False)
    async def file(stamp: str, name: str) -> Response:
        found = kept.by_name.get(name)
        if found is None:
            raise Refused(404, "http_404", "the page has no such file")
        headers = _KEPT if stamp == kept.stamp else {**_KEPT, "cache-control": "no-store"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    @made.get("/card", summary="The model card, as Markdown; for browsers as a page", response_class=PlainTextResponse)
    async def model_card(
        request: Request,
        model: Annotated[str | None, Query(description="Name of a model; left out, the one that answers here.")] = None,
        version: Annotated[int | None, Query(ge=1, description="Its version; left out, the one that answers.")] = None,
    ) -> Response:
        found = await endpoint.card(model, version)
        if wants_html(request):
            return HTMLResponse(card.page(f"{found.model}/{found.version}", found.text, folder), headers=_HEADERS)
        return PlainTextResponse(found.text, media_type="text/markdown", headers={"vary": "accept"})

    return made


def wants_html(request: Request) -> bool:
    """Return whether a browser asks, for a person to look at."""
    return "text/html" in request.headers.get("accept", "")
