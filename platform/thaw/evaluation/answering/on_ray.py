"""Every image of a split through ``predictor.answer``, on all nodes; pictures of some of them."""

import functools
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from thaw import bundle, predictor
from thaw.backends.load import load
from thaw.bundle import Bundle
from thaw.config.experiment import Experiment, Limits
from thaw.console import track
from thaw.data import dataset, quality
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.pieces.on_ray import done
from thaw.data.visiting.on_ray import visit
from thaw.errors import DataError
from thaw.evaluation import evaluate as scoring
from thaw.evaluation import pictures
from thaw.evaluation.evaluate import Answered
from thaw.evaluation.pictures import Drawn
from thaw.predictor import Backend
from thaw.registry.store import ModelVersion
from thaw.storage import Root
from thaw.tasks.contract import Answer, Task


def answers(
    root: Root, network: Callable[[str], Backend], prepared: Dataset, split: str, experiment: Experiment
) -> list[dict[str, Any]]:
    """Return ``id``, ``answer`` and ``annotations`` (both JSON) of every image, ordered by id.

    Args:
        network: returns what answers on a device, quickly where a process has done so before.

    Raises:
        DataError: an image does not keep to the experiment's limits.
        StorageError: a shard is missing or broken.
        ModelError: a node answers otherwise than the model did when it was made.
    """
    limits, device = experiment.data.limits, "cuda" if experiment.evaluate.gpus else "cpu"

    def answer(piece: pa.Table) -> bytes:
        shard, batch = dataset.read_shard(root, piece["file"][0].as_py()), experiment.evaluate.batch
        parts = (shard.slice(first, batch) for first in range(0, len(shard), batch))
        return json.dumps([row for part in parts for row in _answer(network(device), part, limits)]).encode()

    parts = done(answer, data.shard_files(prepared, split), num_gpus=experiment.evaluate.gpus or None)
    told = track(map(json.loads, parts), "answering images", prepared.rows(split), len)
    return sorted((row for part in told for row in part), key=lambda row: str(row["id"]))


def _answer(network: Backend, rows: pa.Table, limits: Limits) -> Iterator[dict[str, str]]:
    ids, images, annotations = zip(*(dataset.encoded(rows, row) for row in range(len(rows))), strict=True)
    given = predictor.answer(network, [_decoded(own, image, limits) for own, image in zip(ids, images, strict=True)])
    schemas = network.description.labels
    for own, answer, known in zip(ids, given, annotations, strict=True):
        carried = {task: schema.to_json(known.get(task)) for task, schema in schemas.items()}
        yield {"id": own, "answer": json.dumps(predictor.as_json(answer)), "annotations": json.dumps(carried)}


def _decoded(own: str, image: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Return an image's pixels.

    Raises:
        DataError: it does not keep to the limits, which were others when the dataset was prepared.
    """
    try:
        return quality.decode(image, limits)
    except quality.BadImage as error:
        raise DataError(f"image {own!r}: {error}; give data.limits that the dataset was prepared with") from None


@functools.lru_cache(maxsize=2)
def loaded(root: Root, found: ModelVersion, artifact: str | None, device: str) -> Backend:
    """Load what answers once a process, however many batches it answers."""
    return load(root, found, artifact, device)


@functools.lru_cache(maxsize=1)
def unpacked(files: "ray.ObjectRef[dict[str, bytes]]", device: str) -> Bundle:
    """Load a bundle out of the object store once a process."""
    with tempfile.TemporaryDirectory(prefix="thaw-bundle-") as folder:
        for name, content in ray.get(files).items():
            (Path(folder) / name).write_bytes(content)
        return bundle.load(Path(folder), device)


def read(rows: Sequence[Mapping[str, str]], tasks: Mapping[str, Task]) -> Answered:
    """Return stored rows as answers and annotations."""
    return Answered(
        [row["id"] for row in rows],
        [scoring.as_answers(json.loads(row["answer"]), tasks) for row in rows],
        [_annotations(row["annotations"], tasks) for row in rows],
    )


def _annotations(text: str, tasks: Mapping[str, Task]) -> dict[str, Annotation]:
    return {task: tasks[task].labels.from_json(one) for task, one in json.loads(text).items()}


def by_image(
    cases: Iterable[tuple[str, str, Sequence[Answer]]],
) -> dict[str, dict[str, Sequence[Answer]]]:
    """Return id -> task -> answers of (id, task, answers)."""
    asked: dict[str, dict[str, Sequence[Answer]]] = defaultdict(dict)
    for image, task, given in cases:
        asked[image][task] = given
    return asked


def drawn(
    root: Root,
    prepared: Dataset,
    split: str,
    limits: Limits,
    asked: Mapping[str, Mapping[str, Sequence[Answer]]],
    labels: Mapping[str, LabelSchema],
) -> Drawn:
    """Return pictures of some images, drawn on all nodes.

    Args:
        asked: id -> task -> answers.
        labels: of all tasks that are asked for.
    """
    rows = {row: image for row, image in enumerate(dataset.ids_of(root, prepared, split)) if image in asked}
    see = functools.partial(pictures.draw, labels=labels, limits=limits)
    found = visit(root, prepared, [split], {row: asked[image] for row, image in rows.items()}, see, "drawing")
    return {rows[row]: picture for row, picture in found.items()}
