"""The tuning stage on Ray: the trials of a sweep under Ray Tune, and what is made of the best of them.

What a trial does in its own process stands in thaw.tuning.work, who goes on in thaw.tuning.schedule, and what the
driver writes down in thaw.tuning.journal.
"""

import functools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ray import tune

from thaw import bundle, on_ray
from thaw.backbones import family
from thaw.config import load as config
from thaw.config.experiment import Experiment, Storage
from thaw.console import say
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.errors import ClusterError, ConfigError
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.evaluate import Scores
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.storage import Root, open_root
from thaw.training import on_ray as training
from thaw.training import run
from thaw.training.frozen_prefix.on_ray import shared_store
from thaw.training.plan import FinetunePlan
from thaw.training.run import Trained
from thaw.tuning import checkpoints, report, sweep
from thaw.tuning.dimension import Dimension
from thaw.tuning.journal.on_ray import Draws, Journal
from thaw.tuning.schedule.on_ray import ByNumber
from thaw.tuning.search import sampler
from thaw.tuning.study import Study
from thaw.tuning.sweep import Sweep
from thaw.tuning.trial import Trial, best_of
from thaw.tuning.work.on_ray import Task, work

CANDIDATE = "candidate"
"""Alias of the version that a sweep registers."""

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "30",
}
"""Ray Tune writes no files of its own beside ours, and an interrupt reaches this process."""


@dataclass(frozen=True)
class Found:
    """What a sweep came to.

    Attributes:
        record: the run that the best trial, or its training anew, was written down as.
        scores: of its bundle on the test images.
        experiment: path below the root of the best trial's experiment, ready to be trained.
        report: path below the root of the report.
    """

    sweep: Sweep
    trials: Sequence[Trial]
    best: Trial
    record: RunRecord
    scores: Scores
    experiment: str
    report: str


@dataclass(frozen=True)
class _Hunt:
    """A sweep whose data, space and experiment are known to fit each other.

    Attributes:
        study: with a number in place of every ``all``.
        groups: layer groups of the backbone of trial 0.
    """

    root: Root
    current: Sweep
    written: Experiment
    study: Study
    prepared: Dataset
    groups: int

    @functools.cached_property
    def base(self) -> Experiment:
        """The experiment of trial 0."""
        return self.of({})

    def of(self, values: dict[str, Any]) -> Experiment:
        """Return the experiment of a trial, which draws no pictures and keeps all that others can use.

        Whether keeping what frozen layers make of images pays is judged for one run; here many use it.
        """
        drawn = self.study.experiment(self.written, values)
        quiet = drawn.track.model_copy(update={"pictures": 0, "train_images": 0, "mlflow": None, "wandb": None})
        use = "never" if drawn.train.cache.use == "never" else "always"
        kept = drawn.train.model_copy(update={"cache": drawn.train.cache.model_copy(update={"use": use})})
        return drawn.model_copy(update={"track": quiet, "train": kept})


def search(
    experiment: Experiment | None, study: Study | None, root_uri: str, resume: str | None = None, refit: bool = False
) -> Found:
    """Search a space around an experiment, and register the best trial's model as candidate.

    Args:
        experiment, study: may be left out where a sweep is resumed.
        resume: id of a sweep that was interrupted.
        refit: train the best experiment anew, to the end of its plan, and register that.

    Raises:
        ThawError: data, study, experiment or cluster do not fit what is asked; or no trial came to anything.
    """
    on_ray.check_shared(root_uri)
    root = open_root(root_uri)
    earlier = sweep.load(root, resume) if resume else None
    if earlier:
        experiment, study = _as_begun(root, earlier, experiment, study)
    if experiment is None or study is None:
        raise ConfigError("give an experiment and --space, such as jobs/spaces/unfreeze.yaml, or --resume a sweep")
    experiment = experiment.model_copy(update={"storage": Storage(root=root.uri)})
    with on_ray.cluster(experiment.train.workers * experiment.train.cpus_per_worker):
        hunt = _begun(root, earlier, experiment, study)
        say(f"sweep {hunt.current.id}: {run.describe(hunt.base, hunt.prepared)}")
        try:
            _run(hunt)
        except BaseException:
            say(f"sweep {hunt.current.id} stopped; `thaw tune --resume {hunt.current.id}` goes on from where it is")
            raise
        return _finished(hunt, refit)


def _as_begun(
    root: Root, earlier: Sweep, experiment: Experiment | None, study: Study | None
) -> tuple[Experiment, Study]:
    """Return what a sweep began with; refuse to continue it as anything else."""
    begun, its_study = sweep.experiment_of(root, earlier), Study.model_validate(earlier.study)
    sweep.check_same(earlier, experiment or begun, study or its_study)
    return begun, its_study


def _begun(root: Root, earlier: Sweep | None, experiment: Experiment, study: Study) -> _Hunt:
    """Return a sweep that is written down; refuse what some trial would stumble over."""
    prepared = Dataset.load(root, earlier.dataset) if earlier else data.prepare(experiment)
    experiment = _on_device(experiment, study)
    groups_of: Callable[[str, int], list[str]] = functools.cache(_groups)

    def check_drawn(drawn: Experiment) -> None:
        FinetunePlan.of(drawn, groups_of(drawn.model.backbone, drawn.data.image.size), epoch_steps=1)
        sweep.check_drawn(experiment, drawn)

    first = study.experiment(experiment, {})
    groups = len(groups_of(first.model.backbone, first.data.image.size))
    others = study.dimensions.get("model.backbone")
    names = [str(name) for name in others.values] if others else []
    fewest = min([groups, *(len(groups_of(name, first.data.image.size)) for name in names)])
    known = study.resolved(fewest)
    known.check(experiment, check_drawn)
    run.check(root, first, prepared)
    current = earlier or sweep.begin(root, experiment, study, prepared)
    if earlier:
        current = earlier.model_copy(update={"attempts": earlier.attempts + 1})
        sweep.save(root, current)
    return _Hunt(root, current, experiment, known, prepared, groups)


def _groups(backbone: str, size: int) -> list[str]:
    return [group.name for group in family.of(backbone).create(backbone, size).groups]


def _on_device(experiment: Experiment, study: Study) -> Experiment:
    """Return the experiment with the device of its trials chosen, where it was left out."""
    if experiment.train.workers > 1:
        return training.resolve(experiment)
    gpus, wanted = on_ray.num_gpus(), study.budget.gpus_per_trial
    device = experiment.train.device or ("gpu" if gpus >= wanted else "cpu")
    if device == "gpu" and gpus < wanted:
        raise ClusterError(
            f"budget.gpus_per_trial: {wanted:g} GPUs are needed and the cluster has {gpus}; lower it, or set "
            "train.device=cpu"
        )
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"device": device})})


def _run(hunt: _Hunt) -> None:
    """Run all trials that are not over."""
    root, current, study, base = hunt.root, hunt.current, hunt.study, hunt.base
    known = sweep.trials(root, current)
    concurrent, inside = _concurrent(base, study), base.train.workers > 1
    epoch_images = run.feed_of(base, hunt.prepared, "train").epoch_steps * base.train.batch
    all_images = epoch_images * sum(phase.epochs for phase in base.finetune.phases)
    scheduler = ByNumber(study.scheduler, epoch_images, all_images, known)
    journal = Journal(root, current, known, study.search.trials)
    draws = Draws(sampler(study, study.search, study.values_of(hunt.written, hunt.groups)), journal)
    os.environ.update(_QUIET)
    with shared_store(base.train.cache) as kept:
        task = Task(
            root=root,
            prepared=hunt.prepared,
            experiment=hunt.of,
            place=functools.partial(sweep.place_of, current),
            shards=training.encoded(root, hunt.prepared),
            store=None if inside else kept,
            threads=training.threads(concurrent),
        )
        tune.Tuner(
            tune.with_resources(tune.with_parameters(work, task=task), _resources(base, study)),
            tune_config=tune.TuneConfig(
                search_alg=draws,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=concurrent,
                time_budget_s=_seconds_left(study, known),
                reuse_actors=not inside,
            ),
            run_config=tune.RunConfig(
                name=f"{current.attempts:03d}-{time.time_ns():x}",
                storage_path=root.path_of(f"{current.path}/ray"),
                storage_filesystem=root.filesystem,
                failure_config=tune.FailureConfig(max_failures=study.budget.max_failures),
                callbacks=[journal],
                verbose=0,
            ),
        ).fit()


def _resources(base: Experiment, study: Study) -> dict[str, float]:
    """Return what Ray reserves for the process of a trial; workers of its own reserve theirs."""
    if base.train.workers > 1:
        return {"memory": 1 << 20}
    gpus = {"GPU": study.budget.gpus_per_trial} if base.train.device == "gpu" else {}
    return {"CPU": base.train.cpus_per_worker, **gpus}


def _concurrent(base: Experiment, study: Study) -> int:
    """Return how many trials run at the same time: never more than there is room for, or none could go on.

    Raises:
        ClusterError: there is not even room for one.
    """
    cpus = base.train.workers * base.train.cpus_per_worker
    total = on_ray.num_cpus() if base.train.workers == 1 else on_ray.spare_cpus(0) - 1
    room = int(total / cpus + 1e-6)
    if base.train.device == "gpu":
        gpus = base.train.workers if base.train.workers > 1 else study.budget.gpus_per_trial
        room = min(room, int(on_ray.num_gpus() / gpus + 1e-6))
    if room < 1:
        raise ClusterError(
            f"the cluster has {on_ray.num_cpus():g} CPUs, and a trial of train.workers={base.train.workers} at "
            f"train.cpus_per_worker={base.train.cpus_per_worker:g} does not fit in beside decoding: lower one of them, "
            "or add a node"
        )
    return min(room, study.budget.concurrent or room)


def _seconds_left(study: Study, known: Sequence[Trial]) -> float | None:
    """Return what is left of the time that all attempts together may take."""
    if study.budget.hours is None:
        return None
    return max(1.0, study.budget.hours * 3600 - sweep.seconds(known))


def _finished(hunt: _Hunt, refit: bool) -> Found:
    """Write down and register what the best trial came to, measure it on the test images, and report."""
    root, current = hunt.root, hunt.current
    trials = sweep.trials(root, current)
    best = best_of(trials)
    if best is None or best.best is None:
        errors = "; ".join(sorted({trial.error for trial in trials if trial.error})) or "none was begun"
        raise ConfigError(f"sweep {current.id}: no trial came to the end of an epoch: {errors}")
    experiment = hunt.study.experiment(hunt.written, best.values)
    ready = f"{current.path}/best.yaml"
    root.write_bytes(ready, config.dump(run.without_secrets(experiment)).encode())
    record = training.train(experiment, hunt.prepared) if refit else _written_down(hunt, experiment, best)
    number = int(str(record.bundle).rsplit("/", 1)[1])
    scores = evaluation.evaluate(experiment, f"{experiment.name}/{number}", hunt.prepared)
    store.set_alias(root, experiment.name, CANDIDATE, number)
    done = current.model_copy(update={"stage": "finished", "run_id": record.id})
    sweep.save(root, done)
    root.remove(f"{current.path}/ray")  # Ray Tune's own state, which nothing reads back
    report.publish(root, current.path, _summary(hunt, trials, scores, f"{experiment.name}/{number}"), trials)
    return Found(done, trials, best, record, scores, ready, f"{current.path}/report.html")


def _written_down(hunt: _Hunt, experiment: Experiment, best: Trial) -> RunRecord:
    """Return the record of a trial as a run of its own, and register its best checkpoint."""
    root, place = hunt.root, sweep.place_of(hunt.current, best.number)
    epoch = checkpoints.best(root, place, best.reports)
    begun = run.begin(experiment, hunt.prepared)
    run.announce(root, begun, experiment)
    for name in root.list(place):
        if name == "metrics.csv" or name.startswith("events."):
            root.write_bytes(f"runs/{begun.id}/{name}", root.read_bytes(f"{place}/{name}"))
    with tempfile.TemporaryDirectory(prefix="thaw-best-") as folder:
        root.download(checkpoints.path_of(place, epoch), Path(folder))
        origin = bundle.describe(Path(folder)).origin
        versions = {name: version(name) for name in ("ray", "torch", "timm")}
        facts: dict[str, str | int] = {"sweep": hunt.current.id, "trial": best.number, **versions}
        trained = Trained(checkpoints.history(Path(folder)), origin, facts)
        return run.finish(root, begun, trained, Path(folder), epoch, best.seconds)


def _summary(hunt: _Hunt, trials: Sequence[Trial], scores: Scores, model: str) -> report.Summary:
    """Return what the report says of the sweep as a whole."""
    study, root = hunt.study, hunt.root
    return report.Summary(
        sweep=hunt.current.id,
        experiment=hunt.written.name,
        metric=hunt.written.finetune.early_stopping.monitor or "score",
        seconds=sweep.seconds(trials),
        ranges={place: _range(one) for place, one in study.dimensions.items()},
        written=study.values_of(hunt.written, hunt.groups) or {},
        search=study.search.by,
        scheduler=study.scheduler.by,
        tested=scores.metrics,
        paths={"model": model, "experiment": root.shown(f"{hunt.current.path}/best.yaml")},
    )


def _range(dimension: Dimension) -> report.Range:
    if dimension.kind == "choice":
        return report.Range("choice", choices=tuple(dimension.values))
    low, high = dimension.values
    return report.Range(dimension.kind, low=low, high=high)
