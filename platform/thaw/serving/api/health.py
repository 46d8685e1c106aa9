"""Health: whether the process lives, and whether it can answer."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel


class Health(BaseModel):
    """That the process lives."""

    status: Literal["ok"] = "ok"


class Live(BaseModel):
    """The same, in the words of the Open Inference Protocol."""

    live: Literal[True] = True


class Ready(BaseModel):
    """That the model is loaded and has answered once."""

    ready: Literal[True] = True


def router() -> APIRouter:
    """Return the ways for probes."""
    made = APIRouter()

    @made.get("/healthz", summary="Whether the process lives")
    async def health() -> Health:
        return Health()

    @made.get("/v2/health/live", summary="Whether the process lives")
    async def server_live() -> Live:
        return Live()

    @made.get("/v2/health/ready", summary="Whether the model is loaded and has answered once")
    async def server_ready() -> Ready:
        return Ready()  # a replica takes requests only after its constructor has warmed the model up

    return made
