"""POST /predict: one image or several in, the answers of all tasks out."""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, create_model

from thaw.serving.api import bodies, problems, several
from thaw.serving.api.asking import HEADERS, MODEL_VERSION, PARAMETERS, TIMING, asked, request_id, while_wanted
from thaw.serving.api.contract import Answered, Endpoint, Problem, Seconds
from thaw.tasks.contract import Masks

_MASKS = Query(
    description="How masks are answered: rle, as COCO run lengths by class; png, as one picture of class indices; "
    "none, leaving them out."
)


def router(endpoint: Endpoint) -> APIRouter:
    """Return the way to answers."""
    made = APIRouter()
    told = problems.RESPONSES | problems.responses(403) if endpoint.settings.urls else problems.RESPONSES

    @made.post(
        "/predict",
        response_model=_answered_type(endpoint),
        responses=told | {200: {"headers": HEADERS}},
        openapi_extra=bodies.documented(endpoint.settings) | PARAMETERS,
        summary="Answer one image or several",
    )
    async def predict(request: Request, masks: Annotated[Masks, _MASKS] = "rle") -> JSONResponse:
        """Answer every task for an image, sent as the body itself, as a file of a multipart form, or as its URL.

        A form of several files is answered in their order, each with its answers or with why it was refused.
        """
        images = await bodies.images(request, endpoint.settings)
        found = await while_wanted(request, several.each(endpoint, asked(request, endpoint, images, masks)))
        return _response(request, found)

    return made


def _response(request: Request, found: Sequence[Answered | BaseException]) -> JSONResponse:
    one = next(one for one in found if isinstance(one, Answered))
    told: dict[str, Any] = {"model": one.model, "version": one.version, "request_id": request_id(request)}
    headers = {MODEL_VERSION: f"{one.model}/{one.version}"}
    if len(found) == 1:
        told["answers"] = one.answers
        headers[TIMING] = _timing(one.seconds)
    else:
        told["images"] = [_told(each, f"{request_id(request)}-{place}") for place, each in enumerate(found)]
    return JSONResponse(told, headers=headers)


def _timing(took: Seconds) -> str:
    """Return what an answer took, in milliseconds, as browsers and proxies read it."""
    parts = {"decode": took.decode, "queue": took.queue, "infer": took.infer}
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in parts.items())


def _told(one: Answered | BaseException, own_id: str) -> dict[str, Any]:
    if isinstance(one, Answered):
        return {"request_id": own_id, "version": one.version, "answers": one.answers}
    why = problems.seen(one)
    return Problem(error=why.error, detail=why.detail, request_id=own_id).model_dump()


def _answered_type(endpoint: Endpoint) -> Any:
    """Return the shape of an answer to a request, for the OpenAPI document."""
    tasks: dict[str, Any] = {task: (reduce(or_, kind.forms()), ...) for task, kind in endpoint.answer_types.items()}
    answers = create_model("Answers", **tasks)
    image = create_model("AnsweredImage", request_id=(str, ...), version=(int, ...), answers=(answers, ...))
    told: dict[str, Any] = {"model": (str, ...), "version": (int, ...), "request_id": (str, ...)}
    one: type[BaseModel] = create_model("Answered", **told, answers=(answers, ...))
    several: type[BaseModel] = create_model("AnsweredImages", **told, images=(list[image | Problem], ...))
    return one | several
