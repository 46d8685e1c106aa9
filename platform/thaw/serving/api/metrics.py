"""GET /metrics: what Prometheus reads; and the counting of all that is responded, refusals among it."""

from typing import Protocol

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Watch(Protocol):
    """Whatever counts."""

    def responded(self, status: int) -> None:
        """Count a response by its status."""
        ...

    async def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        ...


def router(watch: Watch) -> APIRouter:
    """Return the way to metrics."""
    made = APIRouter()

    @made.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        summary="Metrics of all replicas, for Prometheus",
    )
    async def metrics() -> Response:
        return Response(await watch.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return made


class Responses:
    """An ASGI application in front of another one, whose responses it counts."""

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what it comes to."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._watch.responded(message["status"])
            await send(message)

        await self._app(scope, receive, counted)
