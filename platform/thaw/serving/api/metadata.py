"""The Open Inference Protocol, version 2: what the server and its models say of themselves."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict

import thaw
from thaw.serving.api import problems, tagged
from thaw.serving.api.contract import Endpoint, Facts, Refused

INPUT = "image"
"""Name of the one input."""
Name = Annotated[str, Path(max_length=64, description="Name of a model.")]
Version = Annotated[int, Path(ge=1, le=10**9, description="Number of a version of it.")]


class ServerMetadata(BaseModel):
    """Which server answers."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor that is taken or given."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    datatype: str
    shape: list[int]
    """-1 where any size may be; the first dimension is the images."""


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]
    """All else that is known of it."""


class ModelReady(BaseModel):
    """That a model is in memory."""

    name: str
    ready: bool


def router(endpoint: Endpoint) -> APIRouter:
    """Return the protocol's ways to what is known."""
    made = APIRouter(prefix="/v2")
    tagged_facts: dict[str, Any] = {
        "response_model": ModelMetadata,
        "responses": problems.responses(404) | {304: {"description": "It is as the caller has it."}},
        "openapi_extra": tagged.PARAMETERS,
    }
    readiness = problems.responses(404, 503)

    @made.get("", summary="Which server answers")
    async def server_metadata() -> ServerMetadata:
        return ServerMetadata(name="thaw", version=thaw.__version__, extensions=[])

    @made.get("/models/{name}", summary="What a model takes and gives", **tagged_facts)
    async def model_metadata(request: Request, name: Name) -> Response:
        return tagged.response(request, _metadata(await endpoint.facts(name)))

    @made.get("/models/{name}/versions/{version}", summary="What a version takes and gives", **tagged_facts)
    async def model_version_metadata(request: Request, name: Name, version: Version) -> Response:
        return tagged.response(request, _metadata(await endpoint.facts(name, version)))

    @made.get("/models/{name}/ready", summary="Whether a model is in memory", responses=readiness)
    async def model_ready(name: Name) -> ModelReady:
        return _ready(await endpoint.facts(name))

    @made.get("/models/{name}/versions/{version}/ready", summary="Whether a version is in memory", responses=readiness)
    async def model_version_ready(name: Name, version: Version) -> ModelReady:
        return _ready(await endpoint.facts(name, version))

    return made


def _ready(facts: Facts) -> ModelReady:
    if not facts.ready:
        raise Refused(
            503, "not_ready", f"{facts.model}/{facts.version} is not in memory; it is loaded when it is asked"
        )
    return ModelReady(name=facts.model, ready=True)


def _metadata(facts: Facts) -> ModelMetadata:
    """Return the protocol's metadata of a model, with all that is known beside it as its parameters."""
    return ModelMetadata(
        name=facts.model,
        versions=[str(version) for version in facts.versions or (facts.version,)],
        platform="thaw",
        inputs=[TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1])],
        outputs=[
            TensorMetadata(name=f"{task}.{name}", datatype=one.datatype, shape=[-1, *one.shape])
            for task, of in facts.tasks.items()
            for name, one in of.outputs.items()
        ],
        parameters=facts.model_dump(mode="json", exclude={"model", "versions", "ready"}),
    )
