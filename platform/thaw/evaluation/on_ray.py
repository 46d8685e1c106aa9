"""The evaluation stage on Ray: every image of a split through ``predictor.answer``, on all nodes."""

import functools
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from thaw import bundle, on_ray, predictor
from thaw.backends.load import load as loading
from thaw.bundle import Bundle
from thaw.config import load
from thaw.config.experiment import Experiment, Limits
from thaw.console import say, track
from thaw.data import dataset, facts, quality
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.visiting.on_ray import visit
from thaw.errors import DataError
from thaw.evaluation import card, ledger, pictures, report, slices, worst
from thaw.evaluation import evaluate as scoring
from thaw.evaluation.comparison import Comparison
from thaw.evaluation.comparison import compare as comparing
from thaw.evaluation.evaluate import Answered, Scores, Tally
from thaw.evaluation.figures import Labelled, figures, labelled
from thaw.evaluation.pictures import Drawn
from thaw.evaluation.report import charts, comparison
from thaw.evaluation.report.page import Part
from thaw.evaluation.settled import Settled
from thaw.evaluation.settled import settle as settling
from thaw.predictor import Backend
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.registry.store import ModelVersion
from thaw.storage import Root, open_root
from thaw.tasks.contract import Answer, Task


def evaluate(
    experiment: Experiment, reference: str, prepared: Dataset | None = None, artifact: str | None = None
) -> Scores:
    """Answer every image of the experiment's evaluation split, score the answers and store both with the run.

    Args:
        reference: NAME, NAME@alias or NAME/version of the model.
        prepared: the dataset to measure on; the one that the model was trained on when left out.
        artifact: name of one of the model's artifacts, to answer in its place; the run's record stays as it is then.

    Raises:
        DataError: the dataset is gone, its classes are not those of the model, or it has learnt from these images.
        StorageError: there is no such model.
    """
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    found = store.resolve(root, reference)
    lineage = store.lineage(root, found)
    prepared = prepared or _trained_on(root, lineage.run_id)
    split, model = experiment.evaluate.split, f"{found.name}/{found.version}"
    if split in lineage.learnt_from.split("+"):
        raise DataError(
            f"evaluate.split: {model} has learnt from the {split} images, so that what it answers to them tells "
            "nothing; set it to test"
        )
    loaded = _loaded(root, found, artifact, "cpu")
    _check_labels(loaded, prepared, found)
    record = records.load(root, lineage.run_id)
    _check_unlearnt(root, prepared, split, record)
    if prepared.path == record.dataset:
        _say_where_data_differ(experiment, record)
    asked = experiment.evaluate.slices
    columns = slices.read(asked, dataset.ids_of(root, prepared, split)) if asked else None
    place = _place(root, lineage.run_id, prepared, artifact)
    called = f"{model} as {artifact}" if artifact else model
    with on_ray.cluster():
        on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus)
        say(f"evaluating {called} on {prepared.rows(split)} {split} images of {prepared.path}")
        metrics = {name: task.metrics for name, task in loaded.tasks.items()}
        looks = ledger.write(root, prepared, lineage.run_id, called, metrics) if split == "test" else 0
        rows = _answers(root, functools.partial(_loaded, root, found, artifact), prepared, split, experiment)
        _keep(root, f"{place}/{split}.parquet", rows)
        answered = _read(rows, loaded.tasks)
        seen = labelled(loaded.tasks, *answered)
        parts = {name: _part(loaded.tasks[name], one, answered) for name, one in seen.items()}
        shown = _by_image((case.id, name, [case.answer]) for name, part in parts.items() for case in part.cases)
        drawn = _drawn(root, prepared, split, experiment.data.limits, shown, loaded.description.labels)
    tally = Tally(loaded.tasks)
    tally.add(answered.answers, answered.annotations)
    scores = Scores(
        model=model,
        artifact=artifact,
        dataset=prepared.fingerprint,
        split=split,
        images=tally.images,
        metrics=tally.metrics(),
        confusions=tally.confusions(),
        figures=figures(loaded.tasks, seen, experiment.seed, columns),
        looks=looks,
        answers=f"{place}/{split}.parquet",
    )
    report.publish(root, scores, parts, drawn, loaded.description, record)
    if record.dataset == prepared.path and not artifact:
        card.write(root, found, loaded.description, record, scores)
        metrics_of = {**record.metrics, split: scores.metrics}
        records.save(root, record.model_copy(update={"stage": "evaluated", "metrics": metrics_of}))
    root.write_json(f"{place}/{split}.json", scores.model_dump(mode="json"))  # the last: it says that all is there
    return scores


def _say_where_data_differ(experiment: Experiment, record: RunRecord) -> None:
    """Say so where a file asks for other images than those that a model was trained with and is measured on."""
    for key in ("source", "split"):
        if getattr(experiment.data, key).model_dump(mode="json") != record.experiment["data"][key]:
            say(f"warning: data.{key} is not that of run {record.id}, whose dataset {record.dataset} is measured on")


def _check_unlearnt(root: Root, prepared: Dataset, split: str, record: RunRecord) -> None:
    """Refuse images of another dataset that a model has learnt from.

    Raises:
        DataError: some images are, byte for byte, among those that it has learnt from.
    """
    if prepared.path == record.dataset:
        return
    own = _trained_on(root, record.id)
    learnt = facts.digests(root, own, record.experiment["train"]["learn_from"].split("+"))
    both = learnt & facts.digests(root, prepared, [split])
    if both:
        raise DataError(
            f"{prepared.path}: run {record.id} has learnt from {len(both):,} of its {prepared.rows(split):,} {split} "
            "images, so that what its model answers to them tells nothing; measure it on others, or train it anew on "
            "this dataset"
        )


def _part(task: Task, seen: Labelled, answered: Answered) -> Part:
    """Return what a report shows of a task beside its figures."""
    groups = charts.groups(seen.sample, task.labels.names)
    return Part(task.options.type, groups, worst.worst(task, seen, answered))


def _drawn(
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
    return {rows[row]: drawn for row, drawn in found.items()}


def _by_image(
    answers: Iterable[tuple[str, str, Sequence[Answer]]],
) -> dict[str, dict[str, Sequence[Answer]]]:
    """Return id -> task -> answers."""
    asked: dict[str, dict[str, Sequence[Answer]]] = defaultdict(dict)
    for image, task, given in answers:
        asked[image][task] = given
    return asked


def settle(root: Root, folder: Path, experiment: Experiment, prepared: Dataset) -> dict[str, Settled]:
    """Settle on the validation images how a bundle's outputs become answers, and write that into the bundle.

    Nothing here sees another image: the dataset that is read from has no others.

    Args:
        folder: the bundle, not yet registered.
    """
    learning = prepared.without("test")
    loaded = bundle.load(folder)
    files = {name: (folder / name).read_bytes() for name in (bundle.DESCRIPTION, bundle.WEIGHTS)}
    with on_ray.cluster():
        load_there = functools.partial(_unpacked, ray.put(files))
        rows = _answers(root, load_there, learning, "val", experiment)
    seen = labelled(loaded.tasks, *_read(rows, loaded.tasks))
    found = settling(loaded.tasks, seen, experiment.seed)
    bundle.settle(folder, {name: one.answering for name, one in found.items()})
    return found


def _read(rows: Sequence[Mapping[str, str]], tasks: Mapping[str, Task]) -> Answered:
    """Return stored rows as answers and annotations."""
    return Answered(
        [row["id"] for row in rows],
        [scoring.as_answers(json.loads(row["answer"]), tasks) for row in rows],
        [_annotations(row["annotations"], tasks) for row in rows],
    )


def compare(storage_root: str, before: str, after: str, split: str) -> tuple[Comparison, str]:
    """Compare two models on the images of one split of the dataset that the second one was trained on.

    Answers that an evaluation left are used; a model without them is evaluated first.

    Returns:
        The comparison, and where its page is, below the root.

    Args:
        before, after: NAME, NAME@alias or NAME/version.

    Raises:
        DataError: the dataset is gone, or the models have no task of the same classes in common.
        StorageError: there is no such model.
    """
    on_ray.check_shared(storage_root)
    root = open_root(storage_root)
    newer = store.resolve(root, after)
    run_id = store.lineage(root, newer).run_id
    prepared, models = _trained_on(root, run_id), [store.resolve(root, before), newer]
    with on_ray.cluster():
        answered = [_answered(root, one, prepared, split) for one in models]
        tasks = [_loaded(root, one, None, "cpu").tasks for one in models]
        seen = [labelled(each, *one) for each, one in zip(tasks, answered, strict=True)]
        settings = _settings(root, run_id, split)
        found = Comparison(
            before=f"{models[0].name}/{models[0].version}",
            after=f"{newer.name}/{newer.version}",
            dataset=prepared.path,
            split=split,
            tasks=comparing(seen[0], seen[1], settings.seed),
        )
        labels = {name: tasks[1][name].labels for name in found.tasks}
        drawn = _drawn(root, prepared, split, settings.data.limits, _by_image(_changed(found, answered)), labels)
    page = f"{_place(root, run_id, prepared)}/{split}-against-{models[0].name}-{models[0].version}.html"
    report.publish_comparison(root, page, found, answered, drawn, labels)
    return found, page


def _changed(found: Comparison, answered: Sequence[Answered]) -> Iterator[tuple[str, str, Sequence[Answer]]]:
    """Yield the images that a comparison shows, with task and what both models answer."""
    places = {image: place for place, image in enumerate(answered[0].ids)}
    for task, one in found.tasks.items():
        for change in (*one.fixed[: comparison.SHOWN], *one.broken[: comparison.SHOWN]):
            yield change.id, task, [each.answers[places[change.id]][task] for each in answered]


def _answered(root: Root, found: ModelVersion, prepared: Dataset, split: str) -> Answered:
    """Return how a model answers a split, evaluated now if it has not been before."""
    run_id = store.lineage(root, found).run_id
    scores = stored(root, run_id, split, prepared)
    if scores is None:
        scores = evaluate(_settings(root, run_id, split), f"{found.name}/{found.version}", prepared)
    table = pq.read_table(root.path_of(scores.answers), filesystem=root.filesystem)
    return _read(table.to_pylist(), _loaded(root, found, None, "cpu").tasks)


def _settings(root: Root, run_id: str, split: str) -> Experiment:
    """Return the experiment of a run, to be measured on a split where its root is now."""
    values = records.load(root, run_id).experiment
    values = {**values, "storage": {"root": root.uri}, "evaluate": {**values["evaluate"], "split": split}}
    return load.parse(values, f"runs/{run_id}")


def stored(root: Root, run_id: str, split: str, prepared: Dataset | None = None) -> Scores | None:
    """Return the scores that an evaluation of a run's bundle left; None where there was none.

    Args:
        prepared: what it was measured on; the run's own dataset when left out.
    """
    place = f"{_place(root, run_id, prepared)}/{split}.json"
    return Scores.model_validate(root.read_json(place)) if root.exists(place) else None


@functools.lru_cache(maxsize=2)
def _loaded(root: Root, found: ModelVersion, artifact: str | None, device: str) -> Backend:
    """Load what answers once a process, however many batches it answers."""
    return loading(root, found, artifact, device)


@functools.lru_cache(maxsize=1)
def _unpacked(files: "ray.ObjectRef[dict[str, bytes]]", device: str) -> Bundle:
    """Load a bundle out of the object store once a process."""
    with tempfile.TemporaryDirectory(prefix="thaw-bundle-") as folder:
        for name, content in ray.get(files).items():
            (Path(folder) / name).write_bytes(content)
        return bundle.load(Path(folder), device)


def _answers(
    root: Root, load: Callable[[str], Backend], prepared: Dataset, split: str, experiment: Experiment
) -> list[dict[str, Any]]:
    """Return ``id``, ``answer`` and ``annotations`` (both JSON) of every image, ordered by id.

    Args:
        load: returns what answers on a device, quickly where a process has done so before.
    """
    limits, device = experiment.data.limits, "cuda" if experiment.evaluate.gpus else "cpu"

    def answer(rows: pa.Table) -> pa.Table:
        return _answer(load(device), rows, limits)

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


def _answer(loaded: Backend, rows: pa.Table, limits: Limits) -> pa.Table:
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


def _annotations(text: str, tasks: Mapping[str, Task]) -> dict[str, Annotation]:
    return {task: tasks[task].labels.from_json(one) for task, one in json.loads(text).items()}


def _trained_on(root: Root, run_id: str) -> Dataset:
    path = records.load(root, run_id).dataset
    if not root.exists(f"{path}/dataset.json"):
        raise DataError(
            f"{root.shown(path)}: the dataset of run {run_id} is gone; run `thaw prepare` with its experiment"
        )
    return Dataset.load(root, path)


def _check_labels(loaded: Backend, prepared: Dataset, found: ModelVersion) -> None:
    for task, schema in loaded.description.labels.items():
        other = prepared.labels.get(task)
        if other is None or other.fingerprint != schema.fingerprint:
            raise DataError(
                f"{found.name}/{found.version}: task {task} knows the classes {', '.join(schema.names[:8])}; dataset "
                f"{prepared.path} has {', '.join(other.names[:8]) if other else 'no such task'}: they must be the same"
            )


def _place(root: Root, run_id: str, prepared: Dataset | None, artifact: str | None = None) -> str:
    """Return where an evaluation of a run is kept.

    On another dataset than the run's own, and of an artifact, it is in a folder of that name.
    """
    place = f"runs/{run_id}/evaluation"
    if prepared is not None and records.load(root, run_id).dataset != prepared.path:
        place = f"{place}/{prepared.name}-{prepared.fingerprint}"
    return f"{place}/artifacts/{artifact}" if artifact else place


def _keep(root: Root, path: str, rows: list[dict[str, Any]]) -> None:
    """Keep answers, before anything is made of them."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    root.write_bytes(path, buffer.getvalue().to_pybytes())
