"""The web application in front of an endpoint."""

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer

import thaw
from thaw.serving.api import docs, feedback, health, metrics, predict, problems
from thaw.serving.api.contract import Endpoint
from thaw.serving.api.feedback import Keep
from thaw.serving.api.guard import Guard
from thaw.serving.api.metrics import Exposition
from thaw.serving.keys import Keyring
from thaw.serving.page import routes as page


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
    docs.add(app)
    if keyring:
        app.add_middleware(Guard, keyring=keyring)
    return app
