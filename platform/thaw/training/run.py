"""Run: what a training is made of, read off its experiment and its dataset, and what is written down of it.

Nothing here knows Ray: who does the work, and where, stands in thaw.training.on_ray.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import thaw
from thaw import bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data.dataset import Dataset, boxes_of, classes_of, labelled
from thaw.data.excerpt import Excerpt, choose
from thaw.data.feed import Feed
from thaw.data.order import even_chances
from thaw.data.preprocess import Preprocess
from thaw.errors import DataError
from thaw.model import FinetuneModel
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.registry.store import Lineage
from thaw.storage import Root, redacted
from thaw.tasks import detection
from thaw.tasks.contract import Task
from thaw.training import checkpoint, early_stopping, optimizer, resume, trackers
from thaw.training.diagnosis import Diagnosis, Subject
from thaw.training.loop import Epoch
from thaw.training.plan import FinetunePlan

_EXCERPT_BYTES = 64 * 2**20
"""Bytes of pixels, over all workers, that an excerpt may keep in memory."""


def check(root: Root, experiment: Experiment, prepared: Dataset) -> Experiment:
    """Return the experiment with what is read off its data filled in; refuse at once what workers would stumble over.

    Raises:
        ThawError: data, labels, model or plan do not fit the experiment.
    """
    for split in ("train", "val") if experiment.train.validates else ("train",):
        if prepared.rows(split) < experiment.train.workers:
            raise DataError(
                f"train.workers: {experiment.train.workers} workers cannot share the {prepared.rows(split)} images of "
                f"split {split}"
            )
    for task, images in prepared.report.labelled["train"].items():
        if not images:
            raise DataError(f"tasks.{task}: no training image carries a label for it")
    optimizer.check(experiment.finetune.optimizer)
    created = bundle.create(experiment, prepared.labels)
    early_stopping.check(created.tasks, experiment.finetune.early_stopping, prepared.report.labelled["val"])
    trackers.check(experiment.track)
    for shortfall in plan_of(experiment, created.model, prepared).shortfalls():
        say(shortfall)
    if taken := created.description.origin.get("detector"):
        say(f"model.weights: {taken}")
    return _with_anchors(root, experiment, prepared, created.model)


def dataset_of(experiment: Experiment, prepared: Dataset) -> Dataset:
    """Return the dataset as an experiment learns from it."""
    return prepared if experiment.train.validates else prepared.folded()


def _with_anchors(root: Root, experiment: Experiment, prepared: Dataset, model: FinetuneModel) -> Experiment:
    """Return the experiment with anchors read off the training boxes, for the tasks that leave them out."""
    tasks = dict(experiment.tasks)
    preprocess = Preprocess.of(experiment.data.image)
    for name, options in experiment.tasks.items():
        if isinstance(options, detection.Options) and options.anchors is None and model.pyramid is not None:
            carried = boxes_of(root, prepared, "train", name)
            laid = [preprocess.place(high, wide).boxes(one.boxes) for wide, high, one in carried if one is not None]
            tasks[name] = options.with_anchors(np.concatenate([*laid, np.empty((0, 4))]), model.pyramid.strides)
    return experiment.model_copy(update={"tasks": tasks})


def plan_of(experiment: Experiment, model: FinetuneModel, prepared: Dataset) -> FinetunePlan:
    """Return the plan of an experiment on its dataset."""
    feed = feed_of(experiment, prepared, "train")
    return FinetunePlan.of(experiment, [group.name for group in model.groups], feed.epoch_steps)


def feed_of(
    experiment: Experiment,
    prepared: Dataset,
    split: str,
    worker: int = 0,
    drawn_by: NDArray[np.float64] | None = None,
) -> Feed:
    """Return one worker's batches of a split: augmented and shuffled for training, plain otherwise.

    Args:
        drawn_by: what `chances` returned, for training.
    """
    return Feed(
        shard_rows=tuple(shard.rows for shard in prepared.splits[split]),
        labels=prepared.labels,
        preprocess=Preprocess.of(experiment.data.image),
        limits=experiment.data.limits,
        batch=experiment.train.batch,
        augment=experiment.data.augment if split == "train" else None,
        least_box=experiment.data.augment.least_box,
        seed=experiment.seed,
        worker=worker,
        workers=experiment.train.workers,
        chances=drawn_by if split == "train" else None,
        window=_window(prepared, split, experiment.train.shuffle_mb * 2**20),
    )


def _window(prepared: Dataset, split: str, most_bytes: int) -> int | None:
    """Return how many images of a split are shuffled together; None where all of them are."""
    held = sum(shard.bytes for shard in prepared.splits[split])
    return int(prepared.rows(split) * most_bytes / held) if held > most_bytes else None


def excerpt_of(experiment: Experiment, prepared: Dataset, split: str, most: int, worker: int = 0) -> Excerpt:
    """Return one worker's batches of a few images of a split, unchanged; of all workers' share it takes 64 MiB."""
    size = experiment.data.image.size
    images = min(most, _EXCERPT_BYTES // (size * size * 3))
    plain = feed_of(experiment, prepared, "val", worker)
    known = {one.name: getattr(plain, one.name) for one in fields(plain) if one.init}
    rows, window = (getattr(feed_of(experiment, prepared, split), name) for name in ("shard_rows", "window"))
    # the first rows of a split are a random sample too, and of few shards
    of = prepared.rows(split) if window is None else min(images, prepared.rows(split))
    return Excerpt(**{**known, "shard_rows": rows, "window": None}, chosen=choose(of, images, experiment.seed))


def subjects(experiment: Experiment, prepared: Dataset, tasks: Mapping[str, Task]) -> dict[str, Subject]:
    """Return what a diagnosis needs to know of each task beside the curves; nothing where validation has none."""
    if not experiment.train.validates:
        return {}
    images = excerpt_of(experiment, prepared, "train", experiment.track.train_images).images
    found = {}
    for name, task in tasks.items():
        of_val = prepared.report.labelled["val"][name]
        counts = prepared.report.classes["val"][name].values()
        single = task.labels.kind == "class" and of_val
        found[name] = Subject(task.best_metric, of_val, images, max(counts, default=0) / of_val if single else 0.0)
    return found


def chances(root: Root, experiment: Experiment, prepared: Dataset) -> NDArray[np.float64] | None:
    """Return (N,) how likely each training image is to be drawn, summing to 1; None where each comes once an epoch."""
    match experiment.train.sampling:
        case "tasks":
            carried = [labelled(root, prepared, "train", task) for task in prepared.labels]
            shares = sum(has / has.sum() for has in carried)
            return np.asarray(shares / len(carried), dtype=np.float64)
        case "classes":
            return even_chances(classes_of(root, prepared, "train", str(experiment.stratified_task())))
    return None


def describe(experiment: Experiment, prepared: Dataset) -> str:
    """Return on one line what a run trains, on what and with how many."""
    chosen = experiment.train
    images = ", ".join(f"{prepared.rows(split)} {split}" for split in prepared.splits)
    return (
        f"{experiment.model.backbone} with heads {', '.join(experiment.tasks)} on {prepared.path} ({images}); "
        f"{chosen.workers} worker(s) on {chosen.device}"
    )


def begin(experiment: Experiment, prepared: Dataset, run_id: str | None = None) -> RunRecord:
    """Return what is known of a run before it trains.

    Args:
        run_id: a new one when left out.
    """
    return RunRecord(
        id=run_id or records.new_run_id(experiment.name),
        stage="running",
        created=records.utc_now(),
        git_commit=os.environ.get("THAW_GIT_COMMIT") or records.git_commit(Path.cwd()),
        thaw_version=thaw.__version__,
        experiment=without_secrets(experiment).model_dump(mode="json"),
        dataset=prepared.path,
        dataset_fingerprint=prepared.fingerprint,
        label_fingerprints={task: schema.fingerprint for task, schema in prepared.labels.items()},
        weights={},
        environment={},
        metrics={},
        epochs_run=0,
        wall_s=0.0,
        bundle=None,
    )


def announce(root: Root, begun: RunRecord, experiment: Experiment) -> None:
    """Write down that a run is under way, and what it was asked to do; credentials stay out of both."""
    root.write_bytes(f"runs/{begun.id}/experiment.yaml", config.dump(without_secrets(experiment)).encode())
    records.save(root, begun.model_copy(update={"stage": "running"}))


def stop(root: Root, begun: RunRecord) -> None:
    """Write down that a run ended before its plan did; one that is complete stays so."""
    if records.load(root, begun.id).bundle is None:
        records.save(root, begun.model_copy(update={"stage": "failed"}))


@dataclass(frozen=True)
class Trained:
    """What the workers came to.

    Attributes:
        history: every epoch, in order.
        weights: where the backbone's weights came from.
        environment: what the figures depend on besides the experiment.
        diagnosis: what the curves said of each task in the end.
    """

    history: Sequence[Epoch]
    weights: dict[str, str]
    environment: dict[str, str | int]
    diagnosis: Sequence[Diagnosis] = ()


def finish(root: Root, begun: RunRecord, trained: Trained, best: Path, best_epoch: int, wall_s: float) -> RunRecord:
    """Register the best checkpoint as the next version of the model, unless an earlier attempt has, and return the
    run's complete record; saved by the caller once all else is written, it says that the run is over.

    Args:
        best: folder of the checkpoint saved after ``best_epoch``.
    """
    name = str(begun.experiment["name"])
    lineage = Lineage(
        run_id=begun.id,
        dataset_fingerprint=begun.dataset_fingerprint,
        git_commit=begun.git_commit,
        learnt_from=begun.experiment["train"]["learn_from"],
    )
    version = store.of_run(root, name, begun.id) or store.register(
        root, name, best, lineage, leave_out=checkpoint.TRAINING_ONLY
    )
    measured = next(epoch.metrics for epoch in trained.history if epoch.epoch == best_epoch)
    return begun.model_copy(
        update={
            "stage": "trained",
            "weights": trained.weights,
            "environment": {**begun.environment, **trained.environment},
            "metrics": {"val": measured} if measured else {},
            "diagnosis": {one.task: one.model_dump(exclude={"task"}) for one in trained.diagnosis},
            "epochs_run": len(trained.history),
            "wall_s": wall_s,
            "bundle": f"models/{name}/{version}",
        }
    )


def resumed(root: Root, run_id: str, asked: Experiment | None = None) -> Experiment:
    """Return the experiment of an earlier run as it was resolved then, in the root where it was found.

    Args:
        asked: what a user wants it to be continued as, which must not change its result.

    Raises:
        ConfigError: it would.
    """
    values = {**records.load(root, run_id).experiment, "storage": {"root": root.uri}}
    begun = config.parse(values, f"runs/{run_id}")
    if asked is None:
        return begun
    return resume.continued(begun, asked, run_id).model_copy(update={"storage": begun.storage})


def without_secrets(experiment: Experiment) -> Experiment:
    """Return the experiment as it may be written down."""
    shown = experiment.storage.model_copy(update={"root": redacted(experiment.storage.root)})
    return experiment.model_copy(update={"storage": shown})
