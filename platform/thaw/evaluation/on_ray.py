"""The evaluation stage on Ray: every image of a split through ``predictor.answer``, on all nodes."""

import functools
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from thaw import bundle, on_ray, predictor
from thaw.bundle import Bundle
from thaw.config.experiment import Experiment, Limits
from thaw.console import say, track
from thaw.data import dataset, quality
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation
from thaw.errors import DataError
from thaw.evaluation import evaluate as scoring
from thaw.evaluation.evaluate import Scores, Tally
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.store import ModelVersion
from thaw.storage import Root, local_cache, open_root


def evaluate(experiment: Experiment, reference: str, prepared: Dataset | None = None) -> Scores:
    """Answer every image of the experiment's evaluation split, score the answers and store both with the run.

    Args:
        reference: NAME, NAME@alias or NAME/version of the model.
        prepared: the dataset to measure on; the one that the model was trained on when left out.

    Raises:
        DataError: the dataset is gone, its classes are not those of the model, or it has learnt from these images.
        StorageError: there is no such model.
    """
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    found = store.resolve(root, reference)
    lineage = store.lineage(root, found)
    prepared = prepared or _trained_on(root, lineage.run_id)
    split = experiment.evaluate.split
    if split in lineage.learnt_from.split("+"):
        raise DataError(
            f"evaluate.split: {found.name}/{found.version} has learnt from the {split} images, so that what it answers "
            "to them tells nothing; set it to test"
        )
    loaded = _loaded(root, found, "cpu")
    _check_labels(loaded, prepared, found)
    place = f"runs/{lineage.run_id}/evaluation"
    with on_ray.cluster():
        on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus)
        say(f"evaluating {found.name}/{found.version} on {prepared.rows(split)} {split} images of {prepared.path}")
        rows = _answers(root, found, prepared, split, experiment)
    tally = Tally(loaded.tasks)
    for row in rows:
        answers = scoring.as_answers(json.loads(row["answer"]), loaded.tasks)
        tally.add([answers], [_annotations(row["annotations"], loaded)])
    scores = Scores(
        model=f"{found.name}/{found.version}",
        dataset=prepared.fingerprint,
        split=split,
        images=tally.images,
        metrics=tally.metrics(),
        confusions=tally.confusions(),
        answers=f"{place}/{split}.parquet",
    )
    _store(root, scores, rows, place, lineage.run_id)
    return scores


def stored(root: Root, run_id: str, split: str) -> Scores | None:
    """Return the scores that an evaluation of a run's bundle left; None where there was none."""
    place = f"runs/{run_id}/evaluation/{split}.json"
    return Scores.model_validate(root.read_json(place)) if root.exists(place) else None


@functools.lru_cache(maxsize=2)
def _loaded(root: Root, found: ModelVersion, device: str) -> Bundle:
    """Load a bundle once a process, however many batches it answers."""
    return bundle.load(store.fetch(root, found, local_cache()), device)


def _answers(
    root: Root, found: ModelVersion, prepared: Dataset, split: str, experiment: Experiment
) -> list[dict[str, Any]]:
    """Return ``id``, ``answer`` and ``annotations`` (both JSON) of every image, ordered by id."""
    limits, device = experiment.data.limits, "cuda" if experiment.evaluate.gpus else "cpu"

    def answer(rows: pa.Table) -> pa.Table:
        return _answer(_loaded(root, found, device), rows, limits)

    data.quiet()
    shards = ray.data.from_arrow_refs(data.encoded_shards(root, prepared, split))  # type: ignore[arg-type] # invariant
    batches = shards.map_batches(
        answer,
        batch_size=experiment.evaluate.batch,
        batch_format="pyarrow",  # numpy would turn class indices into floats where one is missing
        num_gpus=experiment.evaluate.gpus or None,
    )
    rows = track(batches.iter_rows(), "answering images", prepared.rows(split))
    return sorted(rows, key=lambda row: str(row["id"]))


def _answer(loaded: Bundle, rows: pa.Table, limits: Limits) -> pa.Table:
    ids, images, annotations = zip(*(dataset.encoded(rows, row) for row in range(len(rows))), strict=True)
    answers = predictor.answer(loaded, [quality.decode(image, limits) for image in images])
    schemas = loaded.description.labels
    carried = [{task: schema.to_json(one[task]) for task, schema in schemas.items()} for one in annotations]
    return pa.table(
        {
            "id": list(ids),
            "answer": [json.dumps(predictor.as_json(one)) for one in answers],
            "annotations": [json.dumps(one) for one in carried],
        }
    )


def _annotations(text: str, loaded: Bundle) -> dict[str, Annotation]:
    return {task: loaded.description.labels[task].from_json(one) for task, one in json.loads(text).items()}


def _trained_on(root: Root, run_id: str) -> Dataset:
    path = records.load(root, run_id).dataset
    if not root.exists(f"{path}/dataset.json"):
        raise DataError(
            f"{root.shown(path)}: the dataset of run {run_id} is gone; run `thaw prepare` with its experiment"
        )
    return Dataset.load(root, path)


def _check_labels(loaded: Bundle, prepared: Dataset, found: ModelVersion) -> None:
    for task, schema in loaded.description.labels.items():
        other = prepared.labels.get(task)
        if other is None or other.fingerprint != schema.fingerprint:
            raise DataError(
                f"{found.name}/{found.version}: task {task} knows the classes {', '.join(schema.names[:8])}; dataset "
                f"{prepared.path} has {', '.join(other.names[:8]) if other else 'no such task'}: they must be the same"
            )


def _store(root: Root, scores: Scores, rows: list[dict[str, Any]], place: str, run_id: str) -> None:
    """Keep answers and scores beside the run, and the figures in its record."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    root.write_bytes(scores.answers, buffer.getvalue().to_pybytes())
    root.write_json(f"{place}/{scores.split}.json", scores.model_dump(mode="json"))
    run = records.load(root, run_id)
    metrics = {**run.metrics, scores.split: scores.metrics}
    records.save(root, run.model_copy(update={"stage": "evaluated", "metrics": metrics}))
