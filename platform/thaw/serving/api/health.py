"""Health and facts: whether the process lives, whether it can answer, and which model does."""

from fastapi import APIRouter

from thaw.serving.api.contract import Endpoint, Facts


def router(endpoint: Endpoint) -> APIRouter:
    """Return the ways to what is known without an image."""
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

    @made.get("/", summary="Which model answers here")
    async def facts() -> Facts:
        return await endpoint.facts()

    return made
