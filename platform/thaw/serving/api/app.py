"""The web application in front of an endpoint."""

from fastapi import FastAPI

import thaw
from thaw.serving.api import docs, health, metrics, predict, problems
from thaw.serving.api.contract import Endpoint
from thaw.serving.api.metrics import Exposition


def build_app(endpoint: Endpoint, exposition: Exposition | None = None) -> FastAPI:
    """Return the web application in front of an endpoint.

    Args:
        exposition: gives the metrics; None has none.
    """
    app = FastAPI(title=f"Thaw: {endpoint.name}", version=thaw.__version__, docs_url=None, redoc_url=None)
    problems.add(app)
    app.include_router(health.router(endpoint))
    app.include_router(predict.router(endpoint))
    if exposition:
        app.include_router(metrics.router(exposition))
    docs.add(app)
    return app
