"""POST /feedback: what answered images truly show, said afterwards."""

import asyncio
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from thaw import catalog
from thaw.config import place
from thaw.config.experiment import AnnotationKind
from thaw.data.labels import LabelSchema
from thaw.serving.api import bodies, docs, problems
from thaw.serving.api.contract import Endpoint, Facts, Refused
from thaw.serving.watch import feedback
from thaw.serving.watch.feedback import Feedback, Truth

MOST_BYTES = 2**20
"""Largest body."""

Keep = Callable[[str, Sequence[Truth], str | None], None]
"""What keeps truths of a model, said by the holder of a key; it may take its time and raise StorageError."""


class Kept(BaseModel):
    """What became of feedback."""

    model: str
    kept: int


def router(endpoint: Endpoint, keep: Keep) -> APIRouter:
    """Return the way to say what is true."""
    made = APIRouter()

    @made.post(
        "/feedback",
        name="feedback",
        responses=problems.responses(404, 409, 413),
        openapi_extra=docs.body({"application/json": Feedback.__name__}),
        summary="Say what answered images truly show",
    )
    async def told(request: Request) -> Kept:
        """Keep the true labels of some answers, by their request ids; all of them, or none where one is wrong.

        They join the log of answers: `thaw drift` tells how right the model is on them, and `thaw prepare` can take the
        images to learn from.
        """
        if not endpoint.settings.log.share:
            raise Refused(
                409, "nothing_logged", "no answers are kept here that this could be said of: serve.log is off"
            )
        said = await asyncio.to_thread(_read, await bodies.whole(request, MOST_BYTES))
        facts = await endpoint.facts(said.model)
        _check(said, facts)
        by = getattr(request.state, "key_name", None)
        await asyncio.get_running_loop().run_in_executor(None, keep, facts.model, said.truths, by)
        return Kept(model=facts.model, kept=len(said.truths))

    return made


def _read(body: bytes) -> Feedback:
    try:
        return Feedback.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = place.written(first["loc"])
        raise Refused(422, "bad_feedback", f"{where + ': ' if where else ''}{first['msg']}") from None


def _check(said: Feedback, facts: Facts) -> None:
    """Refuse what cannot be true of the model.

    Raises:
        Refused: something is wrong, and what.
    """
    schemas = {name: LabelSchema(kind=_kind(task.type), names=task.classes) for name, task in facts.tasks.items()}
    for at, one in enumerate(said.truths):
        wrong = feedback.wrong(one, schemas)
        if wrong:
            raise Refused(422, "bad_feedback", f"truths[{at}]: {wrong}")


def _kind(task: str) -> AnnotationKind:
    kind: AnnotationKind = catalog.part("tasks", task).Options.annotation
    return kind
