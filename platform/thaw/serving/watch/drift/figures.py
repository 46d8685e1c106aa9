"""Figures: what was last found of a model's versions, as numbers for Prometheus.

Nobody pushes them: an endpoint reads what `thaw drift` has left in the store. How old it is, is one of the numbers.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from thaw.errors import StorageError
from thaw.serving.watch.drift.drift import FOLDER, Drift
from thaw.serving.watch.metrics import Family
from thaw.storage import Root

_TOLD = {
    "thaw_drift_timestamp_seconds": "When `thaw drift` was last run.",
    "thaw_drift_found": "What it found to have drifted: images, and answers of each task.",
    "thaw_drift_images_auc": "How well images asked about are told from those of validation; 0.5 where they are alike.",
    "thaw_drift_answers_index": "Population stability index of the answers against those to validation images.",
    "thaw_live_metric": "Metrics on the answers that users spoke of.",
}


class Figure(BaseModel):
    """One number, a gauge."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: dict[str, str]
    value: float


def figures(root: Root, model: str) -> Iterator[Figure]:
    """Yield what was last found of every version of a model; nothing where nobody looked.

    Raises:
        StorageError: the store does not answer, or holds something else.
    """
    for file in root.list(f"{FOLDER}/{model}"):
        if file.endswith(".json"):
            yield from _figures(_read(root, f"{FOLDER}/{model}/{file}"))


def families(root: Root, model: str) -> tuple[Family, ...]:
    """Return the same by metric.

    Raises:
        StorageError: as `figures`.
    """
    found = list(figures(root, model))
    return tuple(
        Family(name, "gauge", told, {(name, tuple(one.labels.items())): one.value for one in found if one.name == name})
        for name, told in _TOLD.items()
        if any(one.name == name for one in found)
    )


def _read(root: Root, path: str) -> Drift:
    try:
        return Drift.model_validate(root.read_json(path))
    except ValidationError as error:
        raise StorageError(f"{root.shown(path)}: nothing that `thaw drift` wrote: {error.errors()[0]['msg']}") from None


def _figures(drift: Drift) -> Iterator[Figure]:
    labels = {"model": drift.model, "version": str(drift.version)}
    yield Figure(name="thaw_drift_timestamp_seconds", labels=labels, value=drift.created.timestamp())
    yield Figure(name="thaw_drift_found", labels=labels, value=len(drift.drifted))
    if drift.images:
        yield Figure(name="thaw_drift_images_auc", labels=labels, value=drift.images.auc)
    for name, one in drift.tasks.items():
        yield Figure(name="thaw_drift_answers_index", labels={**labels, "task": name}, value=one.index.value)
    for name, found in drift.accuracy.items():
        for metric, value in found.metrics.items():
            told = {**labels, "task": name, "metric": metric}
            yield Figure(name="thaw_live_metric", labels=told, value=value.value)
