"""An endpoint without Ray: a bundle that answers in this process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from thaw import bundle, predictor
from thaw.bundle import Bundle
from thaw.config import load
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.data.labels import LabelSchema
from thaw.serving.api.contract import Answered, Asked, Facts, ModelCard, Refused, Seconds, facts_of
from thaw.tasks.contract import Answer


def every_kind() -> Bundle:
    """Return a tiny untrained bundle with a head of every kind."""
    experiment = load.parse(
        {
            "name": "tiny",
            "data": {"source": {"type": "boards"}, "image": {"size": 32}},
            "tasks": {
                "verdict": {"type": "classification"},
                "tags": {"type": "multilabel"},
                "things": {"type": "detection", "min_score": 0},
                "ground": {"type": "segmentation"},
            },
            "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
        },
        "test",
    )
    labels = {
        "verdict": LabelSchema(kind="class", names=("no", "yes")),
        "tags": LabelSchema(kind="classes", names=("a", "b", "c")),
        "things": LabelSchema(kind="boxes", names=("cup", "pen")),
        "ground": LabelSchema(kind="mask", names=("grass", "road", "sky")),
    }
    torch.manual_seed(0)
    made = bundle.create(experiment, labels)
    made.model.eval()
    torch.nn.init.normal_(made.model.heads["ground"].classify.weight, std=10)  # so that classes differ
    return made


@dataclass
class InProcess:
    """One bundle, asked image by image."""

    bundle: Bundle
    name: str = "tiny"
    version: int = 7
    settings: Serve = field(default_factory=Serve)
    cards: Mapping[int, str] = field(default_factory=dict)
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

    async def card(self, name: str | None = None, version: int | None = None) -> ModelCard:
        self._check(name, version)
        if self.version not in self.cards:
            raise Refused(404, "no_card", f"{self.name}/{self.version} has no model card")
        return ModelCard(self.name, self.version, self.cards[self.version])

    def _check(self, name: str | None, version: int | None) -> None:
        if name not in (None, self.name) or version not in (None, self.version):
            raise Refused(404, "no_such_model", f"{self.name}/{self.version} alone answers here")
