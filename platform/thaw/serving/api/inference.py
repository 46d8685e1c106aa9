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

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from thaw.config.serving import Serve
from thaw.serving.api import bodies, docs, problems, several
from thaw.serving.api.asking import HEADERS, MODEL_VERSION, PARAMETERS, asked, request_id, while_wanted
from thaw.serving.api.contract import Answered, Endpoint, Refused
from thaw.serving.api.metadata import INPUT, Name, Version
from thaw.tasks.contract import Array

_ENVELOPE_BYTES = 64 * 2**10
_MOST_OUTPUTS = 1024
_MOST_PARTS, _PARTED = 2**14, (b",", b"[", b"{", b":")
"""Most values of a body, and what they are counted by before it is read: images in base64 hold none of these, and a
parser would make a hundred bytes of each."""
_TYPES = {"float32": "FP32", "int64": "INT64"}
_EXAMPLE: dict[str, Any] = {"inputs": [{"name": INPUT, "shape": [1], "datatype": "BYTES", "data": ["iVBORw0KGgo..."]}]}


class RequestInput(BaseModel):
    """Encoded images."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = INPUT
    shape: Annotated[list[int], Field(max_length=2), FailFast()]
    """[N], or [N, 1]: how many images there are."""
    datatype: Literal["BYTES"]
    data: Annotated[list[str | list[str]], Field(min_length=1), FailFast()]
    """Each image as it is in its file, in base64."""


class RequestOutput(BaseModel):
    """A tensor that is wanted."""

    name: str


class InferenceRequest(BaseModel):
    """A request for answers."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_extra={"example": _EXAMPLE})

    id: str | None = None
    inputs: Annotated[list[RequestInput], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestOutput], Field(max_length=_MOST_OUTPUTS)] | None = None
    """Left out: every tensor of every task."""


class Tensor(BaseModel):
    """A tensor of answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    shape: list[int]
    datatype: Literal["FP32", "INT64"]
    data: list[float]
    """Its values, the last dimension running fastest; whole numbers where the datatype is INT64."""


class InferenceResponse(BaseModel):
    """Answers as tensors; their first dimension is the images."""

    model_name: str
    model_version: str
    id: str
    outputs: list[Tensor]


def router(endpoint: Endpoint) -> APIRouter:
    """Return the protocol's ways to answers."""
    made = APIRouter(prefix="/v2")
    told: dict[str, Any] = {
        "response_model": InferenceResponse,
        "responses": problems.RESPONSES | {200: {"headers": HEADERS}},
        "openapi_extra": docs.body({"application/json": InferenceRequest.__name__}) | PARAMETERS,
    }

    async def infer(request: Request, name: str, version: int | None) -> Response:
        chosen = await _read(request, endpoint.settings)
        given = await asyncio.to_thread(_images, chosen, endpoint.settings)
        images = asked(request, endpoint, given, "none", name, version)
        answered = await while_wanted(request, several.by_one_version(endpoint, images))
        content = await asyncio.to_thread(_inferred, chosen, answered, request_id(request))
        one = answered[0]
        return Response(content, media_type="application/json", headers={MODEL_VERSION: f"{one.model}/{one.version}"})

    @made.post("/models/{name}/infer", summary="Answer images as tensors", **told)
    async def model_infer(request: Request, name: Name) -> Response:
        """Answer with the version that answers at present."""
        return await infer(request, name, None)

    @made.post("/models/{name}/versions/{version}/infer", summary="Answer images as tensors of a version", **told)
    async def model_version_infer(request: Request, name: Name, version: Version) -> Response:
        """Answer with one version."""
        return await infer(request, name, version)

    return made


async def _read(request: Request, settings: Serve) -> InferenceRequest:
    """Return what a request asks for.

    Raises:
        Refused: it is too large, or not of the protocol.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "unsupported_media_type", f"content-type {kind[:80]!r}: send application/json")
    most = settings.limits.max_bytes * 4 // 3
    content = await bodies.whole(request, most, _ENVELOPE_BYTES)
    if sum(map(content.count, _PARTED)) > _MOST_PARTS:
        raise Refused(400, "bad_request", f"body: more than {_MOST_PARTS} values")
    return await asyncio.to_thread(_parsed, content)


def _parsed(content: bytes) -> InferenceRequest:
    try:
        return InferenceRequest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise Refused(400, "bad_request", f"{place[:100]}: {first['msg'][:200]}") from None


def _images(chosen: InferenceRequest, settings: Serve) -> list[bytes]:
    """Return the encoded images of a request.

    Raises:
        Refused: they are too many, not as many as the shape says, or not in base64.
    """
    given = chosen.inputs[0]
    flat = [word for one in given.data for word in ([one] if isinstance(one, str) else one)]
    if not flat:
        raise Refused(400, "bad_request", "inputs.0.data: at least one image is needed")
    if given.shape not in ([len(flat)], [len(flat), 1]):
        raise Refused(400, "bad_request", f"inputs.0.shape: {given.shape[:8]}; data holds {len(flat)} images")
    if len(flat) > settings.max_images:
        raise Refused(413, "too_many_images", f"{len(flat)} images; at most {settings.max_images} may come together")
    try:
        return [base64.b64decode(word, validate=True) for word in flat]
    except (binascii.Error, ValueError):
        raise Refused(400, "bad_request", "inputs.0.data: not base64") from None


def _inferred(chosen: InferenceRequest, answered: Sequence[Answered], own_id: str) -> bytes:
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
