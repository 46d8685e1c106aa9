"""The evaluation stage on Ray: the images of a split answered, scored and reported."""

import functools
from pathlib import Path

import ray

from thaw import bundle, on_ray
from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data import dataset, facts
from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.evaluation import card, kept, ledger, report, slices, worst
from thaw.evaluation.answering import on_ray as answering
from thaw.evaluation.evaluate import Answered, Scores, Tally
from thaw.evaluation.figures import Labelled, figures, labelled
from thaw.evaluation.report import charts
from thaw.evaluation.report.page import Part
from thaw.evaluation.settled import Settled
from thaw.evaluation.settled import settle as settling
from thaw.predictor import Backend
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.registry.store import ModelVersion
from thaw.storage import Root, open_root
from thaw.tasks.contract import Task


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
    prepared = prepared or kept.trained_on(root, lineage.run_id)
    split, model = experiment.evaluate.split, f"{found.name}/{found.version}"
    if split in lineage.learnt_from.split("+"):
        raise DataError(
            f"evaluate.split: {model} has learnt from the {split} images, so that what it answers to them tells "
            "nothing; set it to test"
        )
    loaded = answering.loaded(root, found, artifact, "cpu")
    _check_labels(loaded, prepared, found)
    record = records.load(root, lineage.run_id)
    _check_unlearnt(root, prepared, split, record)
    if prepared.path == record.dataset:
        _say_where_data_differ(experiment, record)
    asked = experiment.evaluate.slices
    columns = slices.read(asked, dataset.ids_of(root, prepared, split)) if asked else None
    place = kept.place(root, lineage.run_id, prepared, artifact)
    called = f"{model} as {artifact}" if artifact else model
    with on_ray.cluster(wait_s=experiment.cluster.wait_s):
        on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus, experiment.cluster.wait_s)
        say(f"evaluating {called} on {prepared.rows(split)} {split} images of {prepared.path}")
        metrics = {name: task.metrics for name, task in loaded.tasks.items() if name in prepared.labels}
        looks = ledger.write(root, prepared, lineage.run_id, called, metrics) if split == "test" else 0
        rows = answering.answers(
            root, functools.partial(answering.loaded, root, found, artifact), prepared, split, experiment
        )
        kept.keep_answers(root, f"{place}/{split}.parquet", rows)
        answered = answering.read(rows, loaded.tasks)
        seen = labelled(loaded.tasks, *answered)
        parts = {name: _part(loaded.tasks[name], one, answered) for name, one in seen.items()}
        shown = answering.by_image(
            (case.id, name, [case.answer]) for name, part in parts.items() for case in part.cases
        )
        drawn = answering.drawn(root, prepared, split, experiment.data.limits, shown, loaded.description.labels)
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
    report.publish(root, scores, parts, drawn, loaded.description, record, prepared.path)
    with records.hold(root, record.id):  # another split may have been measured meanwhile
        if record.dataset == prepared.path and not artifact:
            record = records.load(root, record.id)
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
    own = kept.trained_on(root, record.id)
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
        load_there = functools.partial(answering.unpacked, ray.put(files))
        rows = answering.answers(root, load_there, learning, "val", experiment)
    seen = labelled(loaded.tasks, *answering.read(rows, loaded.tasks))
    found = settling(loaded.tasks, seen, experiment.seed)
    bundle.settle(folder, {name: one.answering for name, one in found.items()})
    return found


def _check_labels(loaded: Backend, prepared: Dataset, found: ModelVersion) -> None:
    """Refuse a dataset whose classes are others; tasks that it has no labels for are answered and not scored."""
    model, known = f"{found.name}/{found.version}", loaded.description.labels
    if not known.keys() & prepared.labels.keys():
        raise DataError(
            f"{model} answers {', '.join(known)}; dataset {prepared.path} has labels for {', '.join(prepared.labels)} "
            "alone: measure it on one that has a task of the same name"
        )
    for task, schema in known.items():
        other = prepared.labels.get(task)
        if other is None:
            say(f"{model}: {task} is not scored; {prepared.path} has no labels for it")
        elif other.fingerprint != schema.fingerprint:
            raise DataError(
                f"{model}: task {task} knows the classes {', '.join(schema.names[:8])}; dataset {prepared.path} has "
                f"{', '.join(other.names[:8])}: they must be the same"
            )
