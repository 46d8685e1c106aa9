"""Docs: Swagger UI from this process; the usual one is fetched from a CDN, which many clusters cannot reach."""

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

OPENAPI_VERSION = "3.0.3"
"""The newest that the Swagger UI packaged for Python can show."""


def add(app: FastAPI) -> None:
    """Serve the documentation page of an application at ``/docs``."""
    app.openapi_version = OPENAPI_VERSION
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
