"""GET /metrics: what Prometheus reads."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

Exposition = Callable[[], Awaitable[bytes]]
"""Gives the metrics in Prometheus' text format."""


def router(exposition: Exposition) -> APIRouter:
    """Return the way to metrics."""
    made = APIRouter()

    @made.get("/metrics", summary="Metrics of all replicas, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(await exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return made
