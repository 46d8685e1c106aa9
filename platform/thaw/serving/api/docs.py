"""Docs: the OpenAPI document, and Swagger UI from this process.

The usual page of it is fetched from a CDN, which many clusters cannot reach. Bodies are read by hand, so that no more
of them is read than is allowed; what they may be is put into the document here.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from swagger_ui_bundle import swagger_ui_path

Schemas = dict[str, dict[str, Any]]

_SHOWN = "3.0.3"
"""The newest version that the Swagger UI packaged for Python takes; it shows what a later one says as well."""
_PLACE = "#/components/schemas/{model}"


def schemas(*bodies: type[BaseModel]) -> Schemas:
    """Return name -> schema of what is sent, and of its parts."""
    found = models_json_schema([(body, "validation") for body in bodies], ref_template=_PLACE)[1]
    known: Schemas = found["$defs"]
    return known


def body(kinds: Mapping[str, str | dict[str, Any]]) -> dict[str, Any]:
    """Return what the document says of a body.

    Args:
        kinds: content type -> its schema, or the name of one of the document's.
    """
    content = {
        kind: {"schema": {"$ref": _PLACE.format(model=of)} if isinstance(of, str) else of} for kind, of in kinds.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def add(app: FastAPI, sent: Schemas) -> None:
    """Serve the document of an application, and the page of it at ``/docs``.

    Args:
        sent: schemas of bodies.
    """
    own = app.openapi

    def document() -> dict[str, Any]:
        made = own()
        made["components"]["schemas"] |= sent
        return made

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's own guide does
    app.mount("/docs/static", StaticFiles(directory=swagger_ui_path), name="docs")

    @app.get("/docs/openapi.json", include_in_schema=False)
    async def shown() -> JSONResponse:
        return JSONResponse(document() | {"openapi": _SHOWN})

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        base = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{base}/docs/openapi.json",
            title=app.title,
            swagger_js_url=f"{base}/docs/static/swagger-ui-bundle.js",
            swagger_css_url=f"{base}/docs/static/swagger-ui.css",
            swagger_favicon_url=f"{base}/docs/static/favicon-32x32.png",
        )
