"""Pictures of answers: what models say of an image beside what it carries, small, for reports."""

from collections.abc import Mapping, Sequence

from thaw import overlay
from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.data.labels import Annotation, LabelSchema
from thaw.page.pictures import SIDE, Picture
from thaw.tasks.contract import Answer
from thaw.truth import Truth

DRAWN = ("boxes", "mask")
"""Kinds of annotations that can be drawn."""
_NAMED = 4
"""Classes that are named of one image."""

Drawn = Mapping[str, Mapping[str, Sequence[Picture]]]
"""Image id -> task -> pictures."""


def draw(
    content: bytes,
    annotations: Mapping[str, Annotation],
    asked: Mapping[str, Sequence[Answer]],
    labels: Mapping[str, LabelSchema],
    limits: Limits,
) -> dict[str, tuple[Picture, ...]]:
    """Return task -> a picture of each answer and of the label; of the image alone where nothing is drawn into it.

    Args:
        content: as it is stored.
        asked: task -> answers.
        labels: of all tasks of the model.
    """
    pixels, colours = quality.decode(content, limits), overlay.palette(labels)
    found = {}
    for task, answers in asked.items():
        truth = Truth.of(labels[task], annotations[task])
        drawn = [*answers, truth] if labels[task].kind in DRAWN else [truth]
        found[task] = tuple(Picture.of(overlay.thumbnail(pixels, one.marks(), colours, SIDE)) for one in drawn)
    return found


def beside(image: str, drawn: Sequence[Picture], names: Sequence[str]) -> list[tuple[str, Picture | None]]:
    """Return what stands below each picture of an image, and the picture.

    Args:
        drawn: what `draw` returned.
        names: of the answers, in order.
    """
    if len(drawn) > 1:
        first, *others = [*names, "label"]
        return list(zip((f"{image}: {first}", *others), drawn, strict=True))
    return [(image, drawn[0] if drawn else None)]


def words(answer: Answer) -> str:
    """Return an answer in a few words."""
    told = [f"{name} {word}".strip() for name, word in answer.summary().items()]
    more = len(told) - _NAMED
    return ", ".join(told[:_NAMED]) + (f" and {more} more" if more > 0 else "") if told else "nothing"
