"""Asking an application in this process, over HTTP as its callers would."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI

Ask = Callable[..., httpx.Response]


def asking(app: FastAPI) -> Ask:
    """Return what sends one request to an application and returns its response."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def send(method: str, path: str, **request: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **request)

        return asyncio.run(once())

    return send
