"""POST /admin/champion: another version is to answer, said by the holder of a key of scope admin.

It moves the alias that the endpoint follows, as ``thaw promote`` does; going back is the same with the version before.
"""

import asyncio
from collections.abc import Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw.errors import StorageError
from thaw.serving.api import bodies, docs, problems
from thaw.serving.api.contract import Endpoint, Refused
from thaw.serving.api.guard import ADMIN
from thaw.storage import MissingError

_MOST_BYTES = 1024

Promote = Callable[[int, str], tuple[str, int | None]]
"""Moves the alias to a version, for the holder of a key, and returns its name, and the version that it was at; it may
take its time, and raise StorageError."""


class Champion(BaseModel):
    """What is POSTed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = Field(ge=1)
    """Of the model that the endpoint answers with where none is named."""


class Promoted(BaseModel):
    """What became of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    alias: str
    version: int
    before: int | None
    """The version that the alias was at."""


def router(endpoint: Endpoint, promote: Promote | None) -> APIRouter:
    """Return the way to let another version answer.

    Args:
        promote: None where the endpoint follows no alias.
    """
    made = APIRouter(prefix=ADMIN.rstrip("/"))

    @made.post(
        "/champion",
        name="champion",
        responses=problems.responses(404, 409, 413, 503),
        openapi_extra=docs.body({"application/json": Champion.__name__}),
        summary="Let another version answer",
    )
    async def champion(request: Request) -> Promoted:
        """Move the alias that the endpoint follows; it answers with the version once that is loaded and was checked."""
        wanted = _read(await bodies.whole(request, _MOST_BYTES))
        if promote is None:
            raise Refused(409, "no_alias", f"{endpoint.name} is served by its version, and follows no alias")
        try:
            alias, before = await asyncio.to_thread(promote, wanted.version, request.state.key_name)
        except MissingError:
            raise Refused(404, "no_such_model", f"there is no model {endpoint.name}/{wanted.version}") from None
        except StorageError:
            raise Refused(503, "store_unreachable", "the alias cannot be moved now", retry_after=1) from None
        return Promoted(model=endpoint.name, alias=alias, version=wanted.version, before=before)

    return made


def _read(body: bytes) -> Champion:
    try:
        return Champion.model_validate_json(body)
    except ValidationError:
        raise Refused(422, "bad_request", 'a body is {"version": 3}, of a version of the model') from None
