"""The tuning stage on Ray: the trials of a sweep under Ray Tune, and what is made of the best of them.

What a trial does in its own process stands in thaw.tuning.work, who goes on in thaw.tuning.schedule, and what the
driver writes down in thaw.tuning.journal.
"""

import functools
import math
import os
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
from ray import tune

from thaw import on_ray
from thaw.backbones import family
from thaw.config.experiment import Experiment, Storage
from thaw.console import say
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.errors import ClusterError, ConfigError
from thaw.inspection import checking, gates
from thaw.room import on_ray as room
from thaw.room.slot import Slot
from thaw.storage import Root, open_root
from thaw.training import on_ray as training
from thaw.training import run
from thaw.training.frozen_prefix.on_ray import shared_store
from thaw.training.plan import FinetunePlan
from thaw.tuning import refit, sweep, winner
from thaw.tuning.hunt import Hunt
from thaw.tuning.journal.on_ray import Draws, Journal, WithJournal
from thaw.tuning.refit import Images
from thaw.tuning.schedule.on_ray import ByNumber
from thaw.tuning.search import sampler
from thaw.tuning.study import Study
from thaw.tuning.sweep import Sweep
from thaw.tuning.winner import Found
from thaw.tuning.work.on_ray import Task, work

_DECODED = 0.25
"""Share of the least object store of the nodes that decoded images may take; half of it is for what is kept of them."""

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",
    "TUNE_WARN_THRESHOLD_S": "30",
}
"""Ray Tune writes no files of its own beside ours, an interrupt reaches this process, and a trial that is to end has
time to end its step before the next one begins in its place."""


def search(
    experiment: Experiment | None,
    study: Study | None,
    root_uri: str,
    resume: str | None = None,
    asked: Images | None = None,
    sweep_id: str | None = None,
) -> Found:
    """Search a space around an experiment, and register the best trial's model as candidate.

    Args:
        experiment, study: may be left out where a sweep is resumed.
        resume: id of a sweep that was interrupted.
        asked: train the best experiment anew on these images, and register that; left out where a sweep is resumed,
            as it was asked for before.
        sweep_id: what a sweep that begins is called; a new name when left out.

    Raises:
        ThawError: data, study, experiment or cluster do not fit what is asked; or no trial came to anything.
    """
    on_ray.check_shared(root_uri)
    root = open_root(root_uri)
    earlier = sweep.load(root, resume) if resume else None
    if earlier:
        study = sweep.continued(earlier, experiment, study)
        experiment = sweep.experiment_of(root, earlier)
    if experiment is None or study is None:
        raise ConfigError("give an experiment and --space, such as jobs/spaces/unfreeze.yaml, or --resume a sweep")
    refit.check(experiment, asked)
    experiment = experiment.model_copy(update={"storage": Storage(root=root.uri)})
    with on_ray.cluster(experiment.train.workers * experiment.train.cpus_per_worker):
        hunt = _begun(root, earlier, experiment, study, asked, sweep_id)
        say(f"sweep {hunt.current.id}: {run.describe(hunt.base, hunt.prepared)}")
        try:
            _run(hunt)
            return winner.finish(hunt)
        except BaseException:
            say(f"sweep {hunt.current.id} stopped; `thaw tune --resume {hunt.current.id}` goes on from where it is")
            raise


def _begun(
    root: Root,
    earlier: Sweep | None,
    experiment: Experiment,
    study: Study,
    asked: Images | None,
    sweep_id: str | None,
) -> Hunt:
    """Return a sweep that is written down; refuse what some trial would stumble over."""
    checking.refuse_unknown(experiment.data.allow, "data.allow")
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
    prepared = Dataset.load(root, earlier.dataset) if earlier else data.prepare(experiment)
    if not earlier:
        gates.check(root, experiment, prepared)
    on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus, experiment.cluster.wait_s)
    run.check(root, first, prepared)
    if earlier:
        current = sweep.again(root, earlier, study, asked)
    else:
        current = sweep.begin(root, experiment, study, prepared, asked, sweep_id)
    return Hunt(root, current, experiment, known, prepared, groups)


def _groups(backbone: str, size: int) -> list[str]:
    return [group.name for group in family.of(backbone).create(backbone, size).groups]


def _on_device(experiment: Experiment, study: Study) -> Experiment:
    """Return the experiment with the device of its trials chosen, where it was left out."""
    if experiment.train.workers > 1:
        return training.resolve(experiment)
    cpus, gpus = experiment.train.cpus_per_worker, study.budget.gpus_per_trial
    on_gpu = Slot.of(cpus=cpus, gpus=gpus)
    device = experiment.train.device or ("gpu" if room.possible([on_gpu], experiment.cluster.wait_s) else "cpu")
    trial = on_gpu if device == "gpu" else Slot.of(cpus=cpus)
    _ensure([trial] * (study.budget.concurrent or 1), experiment.cluster.wait_s)
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"device": device})})


def _ensure(trials: Sequence[Slot], wait_s: float) -> None:
    """See that there is room for trials at once, or else, later than asked, one after another.

    Raises:
        ClusterError: there is not even room for one.
    """
    what = "train.cpus_per_worker, budget.gpus_per_trial"
    try:
        room.ensure(what, trials, wait_s, "fewer are tried at once")
    except ClusterError as refused:
        room.ensure(what, trials[:1], wait_s, "lower one, set train.device=cpu, or add a node")
        say(str(refused))


def _run(hunt: Hunt) -> None:
    """Run all trials that are not over."""
    root, current, study = hunt.root, hunt.current, hunt.study
    known = sweep.trials(root, current)
    if len(known) >= (study.search.trials or len(known) + 1) and all(trial.stage != "running" for trial in known):
        return  # what is left is to be made of the best one
    journal = Journal(root, current, known, study.search.trials)

    def is_out_of_time() -> bool:
        return study.budget.hours is not None and journal.seconds > study.budget.hours * 3600

    scheduler = ByNumber(study.scheduler, hunt.epoch_images, hunt.all_images, known, is_out_of_time)
    for trial in known:
        if trial.stage == "running" and (scheduler.is_behind(trial.number) or is_out_of_time()):
            journal.end(trial.number, "stopped")  # the driver ended before it could write that down
    values = study.values_of(hunt.written, hunt.groups)
    draws = Draws(sampler(study, study.search, values), journal, hunt.epochs, is_out_of_time)
    os.environ.update(_QUIET)
    # Ray Tune keeps its own state, in which pickled credentials stand, where it ends with the driver.
    with tempfile.TemporaryDirectory(prefix="thaw-tune-") as folder, shared_store(hunt.base.train.cache) as kept:
        concurrent, inside = _concurrent(hunt), hunt.base.train.workers > 1
        task = Task(
            root=root,
            prepared=hunt.prepared,
            experiment=hunt.of,
            place=functools.partial(sweep.place_of, current),
            shards=_shards(hunt),
            store=None if inside else kept,
            trials_per_node=math.ceil(concurrent / len(on_ray.nodes())),
            check_attempt=functools.partial(sweep.check_attempt, root, current),
        )
        tune.Tuner(
            tune.with_resources(tune.with_parameters(work, task=task), _resources(hunt.base, study)),
            tune_config=tune.TuneConfig(
                search_alg=draws,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=not inside,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=study.budget.max_failures),
                callbacks=[journal],
                stop=WithJournal(journal),
                verbose=0,
            ),
        ).fit()
    journal.check()


def _shards(hunt: Hunt) -> dict[str, data.Held]:
    """Return the rows that trials read: decoded once for all of them, where that fits into memory."""
    root, prepared, limits = hunt.root, hunt.prepared, hunt.base.data.limits
    sizes = np.concatenate([dataset.bitmap_sizes(root, prepared, split) for split in ("train", "val")])
    bytes_free = _DECODED * min(node["object_store_memory"] for node in on_ray.nodes() if "object_store_memory" in node)
    if hunt.base.train.workers > 1 or sizes.sum() > bytes_free or sizes.max() > limits.max_bytes:
        return {split: data.encoded_shards(root, prepared, split) for split in ("train", "val")}
    say(f"images are decoded once for all trials: {sizes.sum() / 2**20:.0f} MiB")
    return {split: data.decoded_shards(root, prepared, split, limits) for split in ("train", "val")}


def _resources(base: Experiment, study: Study) -> dict[str, float]:
    """Return what Ray reserves for the process of a trial; workers of its own reserve theirs."""
    if base.train.workers > 1:
        return {"memory": 1 << 20}
    gpus = {"GPU": study.budget.gpus_per_trial} if base.train.device == "gpu" else {}
    return {"CPU": base.train.cpus_per_worker, **gpus}


def _concurrent(hunt: Hunt) -> int:
    """Return how many trials run at the same time: never more than there is room for, or none could go on."""
    chosen, gpus = hunt.base.train, hunt.study.budget.gpus_per_trial
    on_gpu = chosen.device == "gpu"
    if chosen.workers > 1:  # beside them Ray Data decodes
        most = int((on_ray.num_cpus() - 1) / (chosen.workers * chosen.cpus_per_worker) + 1e-6)
        most = min(most, on_ray.num_gpus() // chosen.workers) if on_gpu else most
    else:
        whole = [  # what one node lacks another cannot give
            (int(node.get("CPU", 0) / chosen.cpus_per_worker + 1e-6), int(node.get("GPU", 0)) * int(1 / gpus + 1e-6))
            for node in on_ray.nodes()
        ]
        most = sum(min(by_cpu, by_gpu) if on_gpu else by_cpu for by_cpu, by_gpu in whole)
    return max(1, min(most, hunt.study.budget.concurrent or most))
