"""Card: what a person must know of a model before using it, as MODEL_CARD.md in the convention of the Hugging Face hub.

Everything in it is read off the run's record, the bundle and the evaluations; nothing is said that was not measured.
What only its makers can know (what it is for, what it must not be used for, its licence) is left to them, and so said.

Source: Mitchell et al. 2019, arXiv:1810.03993; the front matter as in the hub's documentation of model cards.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from thaw.bundle import Description
from thaw.evaluation.evaluate import Scores
from thaw.evaluation.figures import Figures
from thaw.evaluation.operating_point import lines as kept_lines
from thaw.registry.record import RunRecord
from thaw.registry.store import ModelVersion
from thaw.storage import Root

FILE = "MODEL_CARD.md"
"""The one file of a version that is written anew, whenever it was measured."""
_PIPELINES = {
    "classification": "image-classification",
    "multilabel": "image-classification",
    "detection": "object-detection",
    "segmentation": "image-segmentation",
}
_SHOWN = 40
"""Classes that are named."""


def write(
    root: Root, found: ModelVersion, described: Description, record: RunRecord, now: Scores | None = None
) -> None:
    """Write the card of a version, with all that was measured of it on its run's own dataset.

    Args:
        now: what was measured just now, where it was on that dataset.
    """
    places = {split: f"runs/{record.id}/evaluation/{split}.json" for split in ("val", "test")}
    scores = {split: Scores.model_validate(root.read_json(at)) for split, at in places.items() if root.exists(at)}
    scores |= {now.split: now} if now else {}
    text = card(f"{found.name}/{found.version}", described, record, scores)
    root.write_bytes(f"{found.path}/{FILE}", text.encode())


def read(root: Root, found: ModelVersion) -> str | None:
    """Return the card of a version, which may hold anything; None where it has none."""
    place = f"{found.path}/{FILE}"
    return root.read_bytes(place).decode("utf-8", "replace") if root.exists(place) else None


def card(model: str, described: Description, record: RunRecord, scores: Mapping[str, Scores]) -> str:
    """Return the card of a version.

    Args:
        model: ``name/version``.
        scores: split -> what the model came to on it; those that were measured.
    """
    front = yaml.safe_dump(_front(described, record, scores), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n".join(_body(model, described, record, scores)) + "\n"


def _front(described: Description, record: RunRecord, scores: Mapping[str, Scores]) -> dict[str, Any]:
    kinds = [options.type for options in described.tasks.values()]
    results = [
        {
            "task": {"type": _PIPELINES[described.tasks[task].type], "name": task},
            "dataset": {"type": record.dataset, "name": described.name, "split": split},
            "metrics": [
                {"type": name, "value": round(interval.value, 4), "name": name}
                for name, interval in figures.metrics.items()
            ],
        }
        for split, found in scores.items()
        for task, figures in found.figures.items()
    ]
    return {
        "library_name": "thaw",
        "pipeline_tag": _PIPELINES[kinds[0]],
        "tags": ["vision", *dict.fromkeys(kinds), described.model.backbone],
        "base_model": described.model.backbone,
        "model-index": [{"name": described.name, "results": results}] if results else [],
    }


def _body(model: str, described: Description, record: RunRecord, scores: Mapping[str, Scores]) -> Iterator[str]:
    yield f"# {model}"
    yield ""
    heads = ", ".join(f"{name} ({options.type})" for name, options in described.tasks.items())
    yield f"{described.model.backbone}, fine-tuned by Thaw {record.thaw_version}; one forward pass answers {heads}."
    yield from _uses(described)
    yield from _training(described, record)
    for split, found in scores.items():
        yield from _evaluation(split, found)
    yield from _limits(record, scores)


def _uses(described: Description) -> Iterator[str]:
    image = described.preprocess
    yield "\n## What goes in and what comes out\n"
    yield f"Photographs, brought to {image.size} x {image.size} pixels ({image.fit}). Answers by head:"
    yield ""
    for name, schema in described.labels.items():
        more = len(schema.names) - _SHOWN
        told = ", ".join(schema.names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        yield f"- `{name}`: {len(schema.names)} classes: {told}"
    yield "\n## Intended use, and misuse\n"
    yield "To be written by those who trained it: Thaw cannot know what it is for. Its licence is theirs to choose too."


def _training(described: Description, record: RunRecord) -> Iterator[str]:
    yield "\n## How it was trained\n"
    yield f"- run `{record.id}`, begun {record.created}, commit {record.git_commit or 'unknown'}"
    yield f"- dataset `{record.dataset}`"
    origin = ", ".join(f"{key} {value}" for key, value in described.origin.items())
    yield f"- pretrained weights: {origin}"
    yield f"- {record.epochs_run} epochs in {record.wall_s / 60:.0f} min"
    for number, phase in enumerate(record.experiment["finetune"]["phases"], start=1):
        rates = phase["rates"]
        told = f"depth {phase['depth']}, rate {rates['head']:g} of the heads"
        if phase["depth"]:
            told += f" and {rates['backbone']:g} of the backbone, decaying by {rates['decay']:g}"
        yield f"- phase {number}: {phase['epochs']} epochs, {told}"
    ran = ", ".join(f"{key} {value}" for key, value in record.environment.items())
    yield f"- on {ran}" if ran else "- on a machine that was not written down"


def _evaluation(split: str, scores: Scores) -> Iterator[str]:
    yield f"\n## On the {split} images\n"
    looks = f"; look {scores.looks} at them" if scores.looks else ""
    yield f"{scores.images} images of dataset {scores.dataset}{looks}. Intervals are of 95 %, by bootstrap."
    for task, figures in scores.figures.items():
        yield f"\n### {task}\n"
        yield from _table(figures)


def _table(figures: Figures) -> Iterator[str]:
    yield f"| {figures.images} images | value | interval |\n|---|---|---|"
    for name, one in figures.metrics.items():
        yield f"| {name} | {one.value:.3f} | {one.low:.3f} to {one.high:.3f} |"
    if figures.reliability:
        yield f"| calibration error | {figures.reliability.error:.3f} | |"
    for line in kept_lines(figures.kept):
        yield f"\nOperating point: {line}"
    each = [(name, *list(metrics.items())[-1]) for name, metrics in figures.classes.items()]  # F1, where there is one
    if len(each) > 1:
        name, metric, one = min(each, key=lambda found: found[2].value)
        yield f"\nWeakest class: {name}, {metric} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})."


def _limits(record: RunRecord, scores: Mapping[str, Scores]) -> Iterator[str]:
    yield "\n## Limits\n"
    for task, found in record.diagnosis.items():
        yield f"- {task}: {found['kind']} when training ended; {found['evidence']}"
    if "test" not in scores:
        yield "- Not measured on test images yet: figures of validation images, on which it was chosen, are too good."
    yield "- Nothing is known of images unlike those of the dataset: other cameras, places or classes."
