"""Health: whether the process lives, and whether it can answer."""

from fastapi import APIRouter


def router() -> APIRouter:
    """Return the ways for probes."""
    made = APIRouter()

    @made.get("/healthz", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @made.get("/v2/health/live", summary="Whether the process lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @made.get("/v2/health/ready", summary="Whether the model is loaded and has answered once")
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # a replica takes requests only after its constructor has warmed the model up

    return made
