"""The web application in front of an endpoint."""

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

import thaw
from thaw.serving.api import docs, feedback, health, inference, metrics, predict, problems
from thaw.serving.api.asking import MODEL_VERSION, REQUEST_ID
from thaw.serving.api.contract import Endpoint
from thaw.serving.api.feedback import Keep
from thaw.serving.api.guard import Guard
from thaw.serving.api.metrics import Exposition
from thaw.serving.api.stamp import Stamp
from thaw.serving.keys import Keyring
from thaw.serving.page import routes as page

_COMPRESSED_BYTES = 4096
"""Responses from this size on are compressed, for callers who take that."""
_COMPRESSION = 4
"""Of gzip's levels, 1 to 9: masks shrink nearly as much as at 9, in a fraction of the time."""


def build_app(
    endpoint: Endpoint, keyring: Keyring | None = None, keep: Keep | None = None, exposition: Exposition | None = None
) -> FastAPI:
    """Return the web application in front of an endpoint.

    Args:
        keyring: whose keys are asked for; None lets everybody ask.
        keep: what keeps feedback; None takes none.
        exposition: gives the metrics; None has none.
    """
    app = FastAPI(
        title=f"Thaw: {endpoint.name}",
        version=thaw.__version__,
        docs_url=None,
        redoc_url=None,
        dependencies=[Security(HTTPBearer(auto_error=False))] if keyring else [],  # for the document: Guard decides
    )
    problems.add(app)
    app.include_router(health.router())
    app.include_router(predict.router(endpoint))
    app.include_router(page.router(endpoint))
    if keep:
        app.include_router(feedback.router(endpoint, keep))
    if exposition:
        app.include_router(metrics.router(exposition))
    app.include_router(inference.router(endpoint))
    docs.add(app)
    if keyring:
        app.add_middleware(Guard, keyring=keyring)
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESSED_BYTES, compresslevel=_COMPRESSION)
    if endpoint.settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=endpoint.settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, MODEL_VERSION],
        )
    app.add_middleware(Stamp)
    return app
