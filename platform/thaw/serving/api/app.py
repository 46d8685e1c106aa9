"""The web application in front of an endpoint."""

from fastapi import FastAPI

import thaw
from thaw.serving.api import docs, health, predict, problems
from thaw.serving.api.contract import Endpoint


def build_app(endpoint: Endpoint) -> FastAPI:
    """Return the web application in front of an endpoint."""
    app = FastAPI(title=f"Thaw: {endpoint.name}", version=thaw.__version__, docs_url=None, redoc_url=None)
    problems.add(app)
    app.include_router(health.router(endpoint))
    app.include_router(predict.router(endpoint))
    docs.add(app)
    return app
