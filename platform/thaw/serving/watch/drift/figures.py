"""Figures: what was last found of a model's versions, as numbers for Prometheus.

Nobody pushes them: an endpoint reads what `thaw drift` has left in the store. How old it is, is one of the numbers.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from thaw.errors import StorageError
from thaw.serving.watch.drift.drift import FOLDER, Drift
from thaw.storage import Root


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
