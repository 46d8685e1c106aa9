"""Winner: the best trial of a sweep, written down as a run, registered, measured on the test images and reported."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thaw import bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError
from thaw.evaluation import kept
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.evaluate import Scores
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.training import checkpoint, run
from thaw.training import on_ray as training
from thaw.training.run import Trained
from thaw.tuning import checkpoints, refit, report, sweep
from thaw.tuning.dimension import Dimension
from thaw.tuning.hunt import Hunt
from thaw.tuning.schedule.on_ray import rungs
from thaw.tuning.sweep import Sweep
from thaw.tuning.trial import Trial, best_of

CANDIDATE = "candidate"
"""Alias of the version that a sweep registers."""


@dataclass(frozen=True)
class Found:
    """What a sweep came to.

    Attributes:
        record: the run that the best trial, or its training anew, was written down as.
        scores: of its bundle on the test images.
        experiment: path below the root of the best trial's experiment, ready to be trained.
        report: path below the root of the report.
        anew: what is to be known of a model that was trained anew; None where the best trial is registered as it is.
    """

    sweep: Sweep
    trials: Sequence[Trial]
    best: Trial
    record: RunRecord
    scores: Scores
    experiment: str
    report: str
    anew: str | None = None


def finish(hunt: Hunt) -> Found:
    """Write down and register what the best trial came to, measure it on the test images, and report.

    Whatever of this an earlier attempt has done is not done again.
    """
    root, current = hunt.root, hunt.current
    trials = sweep.trials(root, current)
    best = best_of(trials)
    if best is None or best.best is None:
        errors = "; ".join(sorted({trial.error for trial in trials if trial.error}))
        hint = "raise budget.hours" if hunt.study.budget.hours else "see above"
        raise ConfigError(f"sweep {current.id}: no trial came to the end of an epoch: {errors or hint}")
    experiment = hunt.study.experiment(hunt.written, best.values)
    ready = f"{current.path}/best.yaml"
    root.write_bytes(ready, config.dump(run.without_secrets(experiment)).encode())
    record = _registered(hunt, experiment, best)
    number = int(str(record.bundle).rsplit("/", 1)[1])
    scores = kept.stored(root, record.id, experiment.evaluate.split)
    if scores is None:
        scores = evaluation.evaluate(experiment, f"{experiment.name}/{number}", hunt.prepared)
    if current.stage != "finished":
        store.set_alias(root, experiment.name, CANDIDATE, number)
    done = current.model_copy(update={"stage": "finished", "run_id": record.id, "trial": best.number})
    sweep.save(root, done)
    anew = refit.told(best, current.refit, hunt.prepared) if current.refit else None
    summary = _summary(hunt, trials, scores, f"{experiment.name}/{number}", anew)
    report.publish(root, current.path, summary, trials)
    return Found(done, trials, best, record, scores, ready, f"{current.path}/report.html", anew)


def _registered(hunt: Hunt, experiment: Experiment, best: Trial) -> RunRecord:
    """Return the record of the best trial, or of its training anew, as a run of its own with its bundle registered.

    The run is named in the sweep before it begins, so that whatever ends it, the next attempt goes on with it.
    """
    root, current = hunt.root, hunt.current
    known = current.run_id if current.trial == best.number else None
    if known and root.exists(f"runs/{known}/record.json"):
        begun = records.load(root, known)
    else:
        asked = refit.experiment_of(experiment, best, current.refit) if current.refit else experiment
        asked = run.check(root, asked, run.dataset_of(asked, hunt.prepared))
        begun = run.begin(asked, hunt.prepared)
        begun = begun.model_copy(update={"environment": {"sweep": current.id, "trial": best.number}})
        sweep.save(root, current.model_copy(update={"run_id": begun.id, "trial": best.number}))
        run.announce(root, begun, asked)
    if begun.bundle:
        return begun
    if current.refit:
        return training.train(run.resumed(root, begun.id), resume=begun.id)
    return _written_down(hunt, begun, best)


def _written_down(hunt: Hunt, begun: RunRecord, best: Trial) -> RunRecord:
    root, place = hunt.root, sweep.place_of(hunt.current, best.number)
    for name in root.list(place):
        if name == "metrics.csv" or name.startswith("events."):
            root.write_bytes(f"runs/{begun.id}/{name}", root.read_bytes(f"{place}/{name}"))
    epoch = checkpoints.best(root, place, best.reports)
    with checkpoints.last(root, place) as newest:
        history = checkpoints.history(newest) if newest else []
    with tempfile.TemporaryDirectory(prefix="thaw-best-") as folder:
        root.download(checkpoints.path_of(place, epoch), Path(folder))
        origin, facts = bundle.describe(Path(folder)).origin, checkpoint.environment(Path(folder))
        return training.register(root, begun, Trained(history, origin, facts), Path(folder), epoch, best.seconds)


def _summary(hunt: Hunt, trials: Sequence[Trial], scores: Scores, model: str, anew: str | None) -> report.Summary:
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
        rungs=rungs(study.scheduler, hunt.epoch_images, hunt.all_images),
        tested=scores.metrics,
        tested_on=scores.split,
        anew=anew,
        paths={"model": model, "experiment": root.shown(f"{hunt.current.path}/best.yaml")},
    )


def _range(dimension: Dimension) -> report.Range:
    if dimension.kind == "choice":
        return report.Range("choice", choices=tuple(dimension.values))
    low, high = dimension.values
    return report.Range(dimension.kind, low=low, high=high)
