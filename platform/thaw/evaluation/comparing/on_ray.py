"""Comparing two models: answers that are missing are given first, on all nodes."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow.parquet as pq

from thaw import on_ray
from thaw.config import load
from thaw.config.experiment import Cluster, Experiment
from thaw.data.dataset import Dataset
from thaw.evaluation import comparison, kept, ledger, report
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.answering import on_ray as answering
from thaw.evaluation.comparison import Comparison
from thaw.evaluation.evaluate import Answered
from thaw.evaluation.figures import labelled
from thaw.evaluation.report import comparison as page
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.store import ModelVersion
from thaw.storage import Root, open_root
from thaw.tasks.contract import Answer, Task


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
    prepared, models = kept.trained_on(root, run_id), [store.resolve(root, before), newer]
    with on_ray.cluster(wait_s=Cluster().wait_s):
        answered = [_answered(root, one, prepared, split) for one in models]
        tasks = [answering.loaded(root, one, None, "cpu").tasks for one in models]
        _write_down(root, prepared, split, run_id, models, tasks)
        seen = [labelled(each, *one) for each, one in zip(tasks, answered, strict=True)]
        settings = _settings(root, run_id, split, prepared)
        found = Comparison(
            before=f"{models[0].name}/{models[0].version}",
            after=f"{newer.name}/{newer.version}",
            dataset=prepared.path,
            split=split,
            tasks=comparison.compare(seen[0], seen[1], settings.seed),
        )
        labels = {name: tasks[1][name].labels for name in found.tasks}
        drawn = answering.drawn(
            root, prepared, split, settings.data.limits, answering.by_image(_changed(found, answered)), labels
        )
    path = f"{kept.place(root, run_id, prepared)}/{split}-against-{models[0].name}-{models[0].version}.html"
    report.publish_comparison(root, path, found, answered, drawn, labels)
    return found, path


def _write_down(
    root: Root,
    prepared: Dataset,
    split: str,
    run_id: str,
    models: Sequence[ModelVersion],
    tasks: Sequence[Mapping[str, Task]],
) -> None:
    """Write a look into the ledger: what a comparison shows of test images is as telling as a measurement."""
    if split == "test":
        older, newer = (f"{one.name}/{one.version}" for one in models)
        both = {name: task.metrics for name, task in tasks[1].items() if name in tasks[0]}
        ledger.write(root, prepared, run_id, f"{newer} against {older}", both)


def _changed(found: Comparison, answered: Sequence[Answered]) -> Iterator[tuple[str, str, Sequence[Answer]]]:
    """Yield the images that a comparison shows, with task and what both models answer."""
    places = {image: place for place, image in enumerate(answered[0].ids)}
    for task, one in found.tasks.items():
        for change in (*one.fixed[: page.SHOWN], *one.broken[: page.SHOWN]):
            yield change.id, task, [each.answers[places[change.id]][task] for each in answered]


def _answered(root: Root, found: ModelVersion, prepared: Dataset, split: str) -> Answered:
    """Return how a model answers a split, evaluated now if it has not been before."""
    run_id = store.lineage(root, found).run_id
    scores = kept.stored(root, run_id, split, prepared)
    if scores is None:
        scores = evaluation.evaluate(
            _settings(root, run_id, split, prepared), f"{found.name}/{found.version}", prepared
        )
    table = pq.read_table(root.path_of(scores.answers), filesystem=root.filesystem)
    return answering.read(table.to_pylist(), answering.loaded(root, found, None, "cpu").tasks)


def _settings(root: Root, run_id: str, split: str, prepared: Dataset) -> Experiment:
    """Return the experiment of a run, to be measured on a split where its root is now."""
    record = records.load(root, run_id)
    values, evaluate = record.experiment, {**record.experiment["evaluate"], "split": split}
    if record.dataset != prepared.path:
        evaluate["slices"] = None  # their table is of the run's own images
    values = {**values, "storage": {"root": root.uri}, "evaluate": evaluate}
    return load.parse(values, f"runs/{run_id}")
