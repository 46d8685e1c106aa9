"""Watched: an endpoint of whose answers a share is logged."""

from collections.abc import Mapping

from thaw.config.serving import Serve
from thaw.serving.api.contract import Answered, Asked, Endpoint, Facts, ModelCard
from thaw.serving.watch.log import PredictionLog, Seen
from thaw.tasks.contract import Answer


class Watched:
    """An `Endpoint` in front of another one."""

    def __init__(self, endpoint: Endpoint, log: PredictionLog) -> None:
        self._endpoint, self._log = endpoint, log

    @property
    def name(self) -> str:
        """The model that requests mean which name none."""
        return self._endpoint.name

    @property
    def settings(self) -> Serve:
        """How it answers."""
        return self._endpoint.settings

    @property
    def answer_types(self) -> Mapping[str, type[Answer]]:
        """Task -> type of its answers."""
        return self._endpoint.answer_types

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        """Return what is known of a model."""
        return await self._endpoint.facts(name, version)

    async def card(self, name: str | None = None, version: int | None = None) -> ModelCard:
        """Return the card of a model."""
        return await self._endpoint.card(name, version)

    async def answer(self, asked: Asked) -> Answered:
        """Return every task's answer to one encoded image, and keep it where it is among those that are kept."""
        told = await self._endpoint.answer(asked)
        if not asked.again and self._log.wants(told.request_id):
            seen = Seen(
                request_id=told.request_id,
                model=told.model,
                version=told.version,
                artifact=told.artifact,
                answers=told.found,
                image=asked.content,
                embedding=told.embedding,
            )
            self._log.offer(seen)
        return told
