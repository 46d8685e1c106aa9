"""An endpoint without Ray: a bundle that answers in this process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from thaw import predictor
from thaw.bundle import Bundle
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.serving.api.contract import Answered, Asked, Facts, Refused, Seconds, facts_of
from thaw.tasks.contract import Answer


@dataclass
class InProcess:
    """One bundle, asked image by image."""

    bundle: Bundle
    name: str = "tiny"
    version: int = 7
    settings: Serve = field(default_factory=Serve)
    asked: list[Asked] = field(default_factory=list)

    @property
    def answer_types(self) -> Mapping[str, type[Answer]]:
        return {name: task.answer_type for name, task in self.bundle.tasks.items()}

    async def answer(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        self._check(asked.model, asked.version)
        if asked.content == b"break":
            raise RuntimeError("a fault that must not be told, at /some/secret/place")
        began = time.monotonic()
        [found] = predictor.answer(self.bundle, [quality.decode(asked.content, self.settings.limits)])
        seconds = Seconds(0.0, 0.0, time.monotonic() - began, 1)
        shown = predictor.as_json(found, asked.masks)
        return Answered(self.name, self.version, asked.request_id, shown, found, self.bundle.tasks, seconds)

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        self._check(name, version)
        return facts_of(self.name, self.version, self.bundle)

    def _check(self, name: str | None, version: int | None) -> None:
        if name not in (None, self.name) or version not in (None, self.version):
            raise Refused(404, "no_such_model", f"{self.name}/{self.version} alone answers here")
