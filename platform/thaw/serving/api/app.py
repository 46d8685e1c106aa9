"""The web application in front of an endpoint."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

import thaw
from thaw.serving.api import admin, bodies, docs, feedback, health, inference, metadata, metrics, predict, problems
from thaw.serving.api.admin import Promote
from thaw.serving.api.asking import MODEL_VERSION, REQUEST_ID
from thaw.serving.api.contract import Endpoint
from thaw.serving.api.feedback import Keep
from thaw.serving.api.guard import Guard
from thaw.serving.api.inference import InferenceRequest
from thaw.serving.api.metrics import Responses, Watch
from thaw.serving.api.stamp import Stamp
from thaw.serving.keys import Keyring
from thaw.serving.page import routes as page
from thaw.serving.watch.feedback import Feedback

_COMPRESSED_BYTES = 4096
"""Responses from this size on are compressed, for callers who take that."""
_COMPRESSION = 4
"""Of gzip's levels, 1 to 9: masks shrink nearly as much as at 9, in a fraction of the time."""


_KEYED: dict[str, Any] = {
    "dependencies": [Security(HTTPBearer(auto_error=False))],  # for the document: Guard decides
    "responses": problems.GUARDED,
}


def build_app(
    endpoint: Endpoint,
    keyring: Keyring | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
    promote: Promote | None = None,
) -> FastAPI:
    """Return the web application in front of an endpoint.

    Args:
        keyring: whose keys are asked for; None lets everybody ask.
        keep: what keeps feedback; None takes none.
        watch: counts, and gives the metrics; None has none.
        promote: lets another version answer; None where no alias is followed. Nobody gets there without a key.
    """
    app = FastAPI(
        title=f"Thaw: {endpoint.name}",
        version=thaw.__version__,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # generated clients name their functions by it
        responses=problems.ANYWHERE,
    )
    problems.add(app)
    app.include_router(health.router(), tags=["health"])
    for tag, made in _guarded(endpoint, keep, watch):
        app.include_router(made, tags=[tag], **(_KEYED if keyring else {}))
    sent: list[type[BaseModel]] = [InferenceRequest, Feedback]
    if keyring:
        app.include_router(admin.router(endpoint, promote), tags=["admin"], **_KEYED)
        sent.append(admin.Champion)
    docs.add(app, docs.schemas(*sent) | bodies.SCHEMAS)
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
    if watch:
        app.add_middleware(Responses, watch=watch)  # the last one added is the first to see a request
    return app


def _guarded(endpoint: Endpoint, keep: Keep | None, watch: Watch | None) -> Iterator[tuple[str, APIRouter]]:
    """Give what may ask for keys, by its tag in the OpenAPI document."""
    yield "answers", predict.router(endpoint)
    yield "models", page.router(endpoint)
    if keep:
        yield "answers", feedback.router(endpoint, keep)
    if watch:
        yield "metrics", metrics.router(watch)
    yield "inference", inference.router(endpoint)
    yield "inference", metadata.router(endpoint)
