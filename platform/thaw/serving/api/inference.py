"""The Open Inference Protocol, version 2: encoded images in as BYTES, typed tensors out.

Which tensors a task gives is the task's to say. A tensor is called as the task and its output are, such as
``verdict.scores``. Binary data has no place in JSON: BYTES are base64.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import thaw
from thaw.config.serving import Serve
from thaw.serving.api import bodies, problems, several, tagged
from thaw.serving.api.asking import MODEL_VERSION, asked, request_id, while_wanted
from thaw.serving.api.contract import Answered, Endpoint, Facts, Refused
from thaw.tasks.contract import Array

INPUT = "image"
"""Name of the one input."""
_ENVELOPE_BYTES = 64 * 2**10
_MOST_OUTPUTS = 1024
_TYPES = {"float32": "FP32", "int64": "INT64"}
_EXAMPLE: dict[str, Any] = {"inputs": [{"name": INPUT, "shape": [1], "datatype": "BYTES", "data": ["iVBORw0KGgo..."]}]}

Name = Annotated[str, Path(max_length=64, description="name of a model")]
Version = Annotated[int, Path(ge=1, le=10**9, description="number of a version of it")]


class Input(BaseModel):
    """Encoded images."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = INPUT
    shape: list[int]
    """[N], or [N, 1]: how many images there are."""
    datatype: Literal["BYTES"]
    data: Annotated[list[str | list[str]], Field(min_length=1)]
    """Each image as it is in its file, in base64."""


class Output(BaseModel):
    """A tensor that is wanted."""

    name: str


class Inference(BaseModel):
    """A request for answers."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_extra={"example": _EXAMPLE})

    id: str | None = None
    inputs: Annotated[list[Input], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[Output], Field(max_length=_MOST_OUTPUTS)] | None = None
    """Left out: every tensor of every task."""


class Tensor(BaseModel):
    """A tensor of answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    shape: list[int]
    datatype: Literal["FP32", "INT64"]
    data: list[float]
    """Its values, the last dimension running fastest; whole numbers where the datatype is INT64."""


class Inferred(BaseModel):
    """Answers as tensors; their first dimension is the images."""

    model_name: str
    model_version: str
    id: str
    outputs: list[Tensor]


def router(endpoint: Endpoint) -> APIRouter:
    """Return the protocol's ways."""
    made = APIRouter(prefix="/v2")
    body = {"application/json": {"schema": Inference.model_json_schema(ref_template="#/components/schemas/{model}")}}
    _inline(body)
    told: dict[str, Any] = {
        "response_model": Inferred,
        "responses": problems.RESPONSES,
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
    }

    async def infer(request: Request, name: str, version: int | None) -> Response:
        chosen = await _read(request, endpoint.settings)
        images = asked(request, endpoint, _images(chosen, endpoint.settings), "none", name, version)
        answered = await while_wanted(request, several.by_one_version(endpoint, images))
        content = await asyncio.to_thread(_inferred, chosen, answered, request_id(request))
        one = answered[0]
        return Response(content, media_type="application/json", headers={MODEL_VERSION: f"{one.model}/{one.version}"})

    @made.post("/models/{name}/infer", summary="Answer images as tensors", **told)
    async def infer_model(request: Request, name: Name) -> Response:
        """Answer with the version that answers at present."""
        return await infer(request, name, None)

    @made.post("/models/{name}/versions/{version}/infer", summary="Answer images as tensors of a version", **told)
    async def infer_version(request: Request, name: Name, version: Version) -> Response:
        """Answer with one version."""
        return await infer(request, name, version)

    _add_facts(made, endpoint)
    return made


def _add_facts(made: APIRouter, endpoint: Endpoint) -> None:
    refused: dict[int | str, dict[str, Any]] = {404: problems.RESPONSES[404]}

    @made.get("", summary="Which server answers")
    async def server() -> dict[str, Any]:
        return {"name": "thaw", "version": thaw.__version__, "extensions": []}

    @made.get("/models/{name}", summary="What a model takes and gives", responses=refused)
    async def model(request: Request, name: Name) -> Response:
        return tagged.response(request, _metadata(await endpoint.facts(name)))

    @made.get("/models/{name}/versions/{version}", summary="What a version takes and gives", responses=refused)
    async def model_version(request: Request, name: Name, version: Version) -> Response:
        return tagged.response(request, _metadata(await endpoint.facts(name, version)))

    @made.get("/models/{name}/ready", summary="Whether a model is in memory", responses=problems.RESPONSES)
    async def ready(name: Name) -> dict[str, Any]:
        return _ready(await endpoint.facts(name))

    @made.get(
        "/models/{name}/versions/{version}/ready", summary="Whether it is in memory", responses=problems.RESPONSES
    )
    async def ready_version(name: Name, version: Version) -> dict[str, Any]:
        return _ready(await endpoint.facts(name, version))


def _ready(facts: Facts) -> dict[str, Any]:
    if not facts.ready:
        raise Refused(
            503, "not_ready", f"{facts.model}/{facts.version} is not in memory; it is loaded when it is asked"
        )
    return {"name": facts.model, "ready": True}


def _metadata(facts: Facts) -> dict[str, Any]:
    """Return the protocol's metadata of a model, with all that is known beside it as its parameters."""
    outputs = [
        {"name": f"{task}.{name}", "datatype": one.datatype, "shape": [-1, *one.shape]}
        for task, of in facts.tasks.items()
        for name, one in of.outputs.items()
    ]
    return {
        "name": facts.model,
        "versions": [str(version) for version in facts.versions or (facts.version,)],
        "platform": "thaw",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
        "parameters": facts.model_dump(mode="json", exclude={"model", "versions", "ready"}),
    }


async def _read(request: Request, settings: Serve) -> Inference:
    """Return what a request asks for.

    Raises:
        Refused: it is too large, or not of the protocol.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "unsupported_media_type", f"content-type {kind[:80]!r}: send application/json")
    most = settings.limits.max_bytes * 4 // 3
    content = await bodies.whole(request, most, _ENVELOPE_BYTES)
    try:
        return await asyncio.to_thread(Inference.model_validate_json, content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise Refused(400, "bad_request", f"{place[:100]}: {first['msg'][:200]}") from None


def _images(chosen: Inference, settings: Serve) -> list[bytes]:
    """Return the encoded images of a request.

    Raises:
        Refused: they are too many, not as many as the shape says, or not in base64.
    """
    given = chosen.inputs[0]
    flat = [word for one in given.data for word in ([one] if isinstance(one, str) else one)]
    if given.shape not in ([len(flat)], [len(flat), 1]):
        raise Refused(400, "bad_request", f"inputs.0.shape: {given.shape[:8]}; data holds {len(flat)} images")
    if len(flat) > settings.max_images:
        raise Refused(413, "too_many_images", f"{len(flat)} images; at most {settings.max_images} may come together")
    try:
        return [base64.b64decode(word, validate=True) for word in flat]
    except (binascii.Error, ValueError):
        raise Refused(400, "bad_request", "inputs.0.data: not base64") from None


def _inferred(chosen: Inference, answered: Sequence[Answered], own_id: str) -> bytes:
    """Return the answer to a request as JSON.

    Raises:
        Refused: it asks for a tensor that there is not.
    """
    one = answered[0]
    tensors = {
        f"{task}.{name}": values
        for task, head in one.tasks.items()
        for name, values in head.tensors([each.found[task] for each in answered]).items()
    }
    wanted = list(tensors) if chosen.outputs is None else list(dict.fromkeys(one.name for one in chosen.outputs))
    for name in wanted:
        if name not in tensors:
            raise Refused(400, "no_such_output", f"outputs: {name[:80]!r} is none of {', '.join(tensors)}")
    told = {
        "model_name": one.model,
        "model_version": str(one.version),
        "id": chosen.id if chosen.id is not None else own_id,
        "outputs": [_tensor(name, tensors) for name in wanted],
    }
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


def _tensor(name: str, tensors: Mapping[str, Array]) -> dict[str, Any]:
    values = tensors[name]
    datatype = _TYPES[values.dtype.name]
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": values.ravel().tolist()}


def _inline(body: dict[str, Any]) -> None:
    """Put the parts of a schema in the places that refer to them: the components of the document are made elsewhere."""
    schema = body["application/json"]["schema"]
    parts = schema.pop("$defs")
    schema["properties"]["inputs"]["items"] = parts["Input"]
    schema["properties"]["outputs"]["anyOf"][0]["items"] = parts["Output"]
