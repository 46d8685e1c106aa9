"""The training stage on Ray: the workers of Ray Train, their data, their checkpoints, and what the driver does.

How a model learns stands in the modules beside this one; here is only what runs where.
"""

import functools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import timm
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import nn

from thaw import bundle, catalog, on_ray
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.errors import ClusterError, ConfigError, ModelError, ThawError
from thaw.model import FinetuneModel
from thaw.registry import record as records
from thaw.registry.record import RunRecord
from thaw.storage import Root, open_root
from thaw.training import (
    checkpoint,
    compilation,
    diagnosis,
    loop,
    monitor,
    precision,
    run,
    trackers,
    transfer,
    workers,
)
from thaw.training.frozen_prefix.cache import FrozenPrefix, Images
from thaw.training.frozen_prefix.on_ray import shared_store
from thaw.training.loop import Batch, Batches, Device, Progress, State
from thaw.training.monitor import Told
from thaw.training.plan import FinetunePlan
from thaw.training.run import Trained
from thaw.training.transfer import Transfer
from thaw.training.validation import Validation

_CHECKPOINTS = "checkpoints"

KEEP_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
"""Makes glibc keep what a step freed for the next step: asking the kernel for it again costs a quarter of the time."""


SWITCH_S = 1e-4
"""How long a thread of the training process may hold the interpreter while another wants it, in seconds. PyTorch lets
go of it for every operation; Ray Data's scheduler, in the same process, would make each wait Python's usual 5 ms."""

_NEVER_BEST = -sys.float_info.max
"""Score of a checkpoint inside an epoch: below that of every epoch, so that Ray Train keeps it, beside the best, only
while it is the last one. Not minus infinity, for Ray Train writes scores down as JSON."""


def train(experiment: Experiment, prepared: Dataset | None = None, resume: str | None = None) -> RunRecord:
    """Fine-tune, register the best checkpoint as the next version of the model, and return the run's record.

    Args:
        prepared: the experiment's dataset; prepared first when left out.
        resume: id of an interrupted run of this experiment, to be continued from its last checkpoint.

    Raises:
        ThawError: data, model, plan or cluster do not fit what is asked.
    """
    started = time.monotonic()
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    earlier = records.load(root, resume) if resume else None
    if earlier:
        experiment = run.resumed(root, earlier.id, experiment)
    if earlier and earlier.bundle:
        say(f"run {earlier.id} is complete: {earlier.bundle}")
        return earlier
    with on_ray.cluster(experiment.train.workers * experiment.train.cpus_per_worker):
        prepared = Dataset.load(root, earlier.dataset) if earlier else prepared or data.prepare(experiment)
        experiment = resolve(experiment)
        on_ray.spare_cpus(experiment.train.workers * experiment.train.cpus_per_worker)
        experiment = run.check(root, experiment, prepared)
        begun = earlier or run.begin(experiment, prepared)
        run.announce(root, begun, experiment)
        say(f"run {begun.id}: {run.describe(experiment, prepared)}")
        try:
            result = _fit(root, begun.id, experiment, prepared)
            done = _finish(root, begun, result, time.monotonic() - started)
        except BaseException:
            run.stop(root, begun)
            say(f"run {begun.id} stopped; `thaw train --resume {begun.id}` continues it from its last checkpoint")
            raise
    say(f"run {done.id}: {done.bundle} registered")
    return done


def compare_single(experiment: Experiment, together: RunRecord) -> list[Transfer]:
    """Train each task of a finished run alone, with the same plan on the same images, and compare.

    Raises:
        ThawError: as for `train`; or the run was not of several tasks.
    """
    root = open_root(experiment.storage.root)
    prepared = Dataset.load(root, together.dataset)
    if len(prepared.labels) < 2:
        raise ConfigError("--compare-single needs an experiment of two tasks or more")
    found = []
    with on_ray.cluster(experiment.train.workers * experiment.train.cpus_per_worker):
        for number, task in enumerate(prepared.labels, start=1):
            say(f"\n[{number}/{len(prepared.labels)}] {task} alone")
            single = train(*transfer.alone(experiment, prepared, task))
            metric = catalog.part("tasks", experiment.tasks[task].type).Task.best_metric
            both = (monitor.best(root, record.id, task, metric) for record in (together, single))
            found.append(
                Transfer(task=task, metric=metric, together=next(both), alone=next(both), seconds_alone=single.wall_s)
            )
    root.write_json(f"runs/{together.id}/transfer.json", [one.model_dump() for one in found])
    return found


def resolve(experiment: Experiment) -> Experiment:
    """Return the experiment with the device chosen for this cluster, where it was left out."""
    chosen, gpus = experiment.train, on_ray.num_gpus()
    device = chosen.device or ("gpu" if gpus >= chosen.workers else "cpu")
    if device == "gpu" and gpus < chosen.workers:
        raise ClusterError(
            f"train.workers: {chosen.workers} GPUs are needed and the cluster has {gpus}; lower it, or set "
            "train.device=cpu"
        )
    return experiment.model_copy(update={"train": chosen.model_copy(update={"device": device})})


def _fit(root: Root, run_id: str, experiment: Experiment, prepared: Dataset) -> ray.train.Result:
    """Run the workers to the end of the plan, telling of every epoch as it ends."""
    # A worker that dies soon after it reported would lose that epoch: the controller asks only so often.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    chosen = experiment.train
    with _told() as channel, shared_store(chosen.cache) as kept:
        trainer = TorchTrainer(
            _work,  # type: ignore[arg-type] # V2 hands rank 0's return value on; the stubs are V1's
            train_loop_config={
                "experiment": experiment.model_dump(mode="json"),
                "dataset": prepared.model_dump(mode="json"),
                "root": root,
                "run_path": f"runs/{run_id}",
                "channel": channel,
                "kept": kept,
                "chances": run.chances(root, experiment, prepared),
                "shards": {split: data.encoded_shards(root, prepared, split) for split in ("train", "val")},
            },
            scaling_config=ScalingConfig(
                num_workers=chosen.workers,
                use_gpu=chosen.device == "gpu",
                resources_per_worker={"CPU": chosen.cpus_per_worker},
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if chosen.device == "gpu" else "gloo"),
            run_config=RunConfig(
                name=_CHECKPOINTS,
                storage_path=root.path_of(f"runs/{run_id}"),
                storage_filesystem=root.filesystem,
                failure_config=FailureConfig(max_failures=chosen.max_failures),
                worker_runtime_env={"env_vars": KEEP_MEMORY if chosen.device == "cpu" else {}},  # type: ignore[call-arg]
                checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="score"),
            ),
        )
        try:
            return trainer.fit()
        except TrainingFailedError as failure:
            raise _refusal_in(failure) or failure from None


def _refusal_in(failure: TrainingFailedError) -> ThawError | None:
    """Return what a user can mend among the workers' failures, if that is what ended the run."""
    causes = (getattr(error, "cause", error) for error in getattr(failure, "worker_failures", {}).values())
    return next((error for error in causes if isinstance(error, ThawError)), None)


@contextmanager
def _told() -> Iterator[Queue]:
    """Give a channel through which workers say lines, and say them here."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    channel = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    over = threading.Event()

    def listen() -> None:
        last = False
        while not last:
            last = over.wait(0.5)
            for line in channel.get_nowait_batch(channel.qsize()):
                say(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield channel
    finally:
        over.set()
        listener.join(timeout=10)
        channel.shutdown()


def _work(setup: dict[str, Any]) -> dict[str, Any]:
    """Train as one of the workers, and return what the driver records.

    A refusal that every worker comes to alike is returned: raised, it would count as a crash and be tried again.
    """
    try:
        return _train(setup)
    except (ConfigError, ModelError) as refusal:
        return {"refused": str(refusal)}


def _train(setup: dict[str, Any]) -> dict[str, Any]:
    experiment = config.parse(setup["experiment"], setup["run_path"])
    prepared = Dataset.model_validate(setup["dataset"])
    context = ray.train.get_context()
    device, here = ray.train.torch.get_device(), context.get_local_world_size()
    on = device_of(experiment, device, context.get_world_rank(), context.get_world_size(), here)
    data.quiet()
    sys.setswitchinterval(SWITCH_S)
    if experiment.train.compile:
        compilation.check(on.device.type)
    trained = model_of(experiment, prepared, on)
    plan = run.plan_of(experiment, trained.model, prepared)
    state = _state(trained, plan, experiment, on)
    served = replace(trained, model=state.served(trained.model))
    subjects = run.subjects(experiment, prepared, trained.tasks)
    environment = _environment(on)
    tell = setup["channel"].put if on.worker == 0 else (lambda _line: None)
    tell(f"{environment['device']} in {environment['precision']}, from step {state.step} of {plan.steps}")
    images = _images(setup, experiment, prepared, trained, plan, on, tell)
    validation = _validation(setup, experiment, prepared, images, served, state.average is not None, on)
    epochs = loop.fit(
        trained.model,
        trained.tasks,
        plan,
        experiment.finetune,
        state,
        batches=images.batches,
        validate=validation,
        on=on,
        seed=experiment.seed,
        wrap=functools.partial(_wrap, compile=experiment.train.compile),
        excerpt=_excerpt(setup, experiment, prepared, served, on),
        pause_steps=experiment.train.checkpoint_steps,
    )
    followers = trackers.begin(setup["root"], setup["run_path"], experiment, tell) if on.worker == 0 else None
    # What was told of an epoch that is to be finished after a restart would be told twice.
    epoch_start = state.step // plan.epoch_steps * plan.epoch_steps
    with monitor.Monitor(setup["root"], setup["run_path"], plan, epoch_start) as watch, followers or nullcontext():
        watch.begin(run.without_secrets(experiment))
        for progress in epochs:
            if not isinstance(progress, Progress):
                _report(trained, state, on, f"step_{progress.step:08d}", _NEVER_BEST)
                continue
            epoch = progress.epoch
            if on.worker == 0:
                found = diagnosis.diagnose(state.history, subjects)
                watch.tell(progress, state.history, trained.tasks, Told(found, validation.seen))
            if followers:
                followers.tell(state.history)
            _report(trained, state, on, f"epoch_{epoch.epoch:04d}", epoch.score)
            for line in (monitor.line(epoch, plan.steps // plan.epoch_steps), *diagnosis.news(state.history, subjects)):
                tell(line)
    told = diagnosis.diagnose(state.history, subjects)
    return {"trained": Trained(state.history, trained.description.origin, environment, told)}


def device_of(experiment: Experiment, device: torch.device, worker: int, workers: int, workers_here: int) -> Device:
    """Return where a worker computes, with as many threads as its share of the node allows."""
    if device.type == "cpu":
        torch.set_num_threads(_threads(workers_here))
    chosen = experiment.train.precision or precision.best(device.type)
    return Device(device, precision.DTYPES[chosen], worker, workers, experiment.train.accumulate)


def _threads(workers_here: int) -> int:
    """Return the threads of one training process: it may use the node's cores whenever decoding leaves them."""
    return max(1, on_ray.cores() // workers_here)


def model_of(experiment: Experiment, prepared: Dataset, on: Device) -> Bundle:
    """Return the model as it is before the first step, on its device."""
    trained = bundle.create(experiment, prepared.labels)
    trained.model.to(on.device).to(memory_format=torch.channels_last)
    if on.device.type == "cpu" and on.autocast is not None:
        precision.learn_depthwise_in_fp32(trained.model)
    return trained


def _environment(on: Device) -> dict[str, str | int]:
    """Return what a run's figures depend on besides its experiment."""
    cpu = f"{precision.cpu_facts().get('cpu_name', 'CPU')} x {torch.get_num_threads()}"
    return {
        "device": torch.cuda.get_device_name(on.device) if on.device.type == "cuda" else cpu,
        "precision": precision.name(on.autocast),
        "workers": on.workers,
        "ray": ray.__version__,
        "torch": str(torch.__version__),
        "timm": timm.__version__,
    }


def _state(trained: Bundle, plan: FinetunePlan, experiment: Experiment, on: Device) -> State:
    """Return where this run stands: at its last checkpoint, or at the beginning."""
    last, scaled = ray.train.get_checkpoint(), on.autocast == torch.float16
    if last is None:
        return checkpoint.fresh(trained, plan, experiment.finetune, scaled)
    with last.as_directory() as folder:
        return checkpoint.load(Path(folder), trained, plan, experiment.finetune, scaled)


def _images(
    setup: dict[str, Any],
    experiment: Experiment,
    prepared: Dataset,
    trained: Bundle,
    plan: FinetunePlan,
    on: Device,
    tell: Callable[[str], None],
) -> FrozenPrefix:
    """Return where this worker's batches come from: decoded by Ray Data, or kept of what frozen layers made of them."""
    train, val = (_split(setup, experiment, prepared, split, on) for split in ("train", "val"))
    return FrozenPrefix(trained, plan, experiment.train.cache, setup["kept"], train, val, on, tell)


def _split(setup: dict[str, Any], experiment: Experiment, prepared: Dataset, split: str, on: Device) -> Images:
    shards, prefetch = setup["shards"][split], experiment.train.prefetch

    def stream(feed: Feed, start: int, stop: int) -> Generator[Batch]:
        return data.stream(feed, shards, start, stop, prefetch)

    feed = run.feed_of(experiment, prepared, split, on.worker, setup["chances"])
    return Images(f"{prepared.fingerprint} {split}", feed, stream)


def batches_of(setup: dict[str, Any], experiment: Experiment, prepared: Dataset, split: str, on: Device) -> Batches:
    """Return a worker's batches of a split, decoded ahead.

    Args:
        setup: holds ``shards`` by split, in the object store, and ``chances``.
    """
    images = _split(setup, experiment, prepared, split, on)
    return functools.partial(images.stream, images.feed)


def _validation(
    setup: dict[str, Any],
    experiment: Experiment,
    prepared: Dataset,
    images: FrozenPrefix,
    served: Bundle,
    averaged: bool,
    on: Device,
) -> Validation:
    """Return what measures the model that is served; the layers of an average are not those that images were cut at."""
    plain = _split(setup, experiment, prepared, "val", on)
    batches = functools.partial(plain.stream, plain.feed, 0, plain.feed.epoch_steps) if averaged else images.validation
    shown: list[Batch] = []
    if on.worker == 0 and experiment.track.pictures:
        single = experiment.model_copy(update={"train": experiment.train.model_copy(update={"workers": 1})})
        shown = _loaded(setup, experiment, run.excerpt_of(single, prepared, "val", experiment.track.pictures), "val")
    return Validation(served, batches, shown, on)


def _excerpt(
    setup: dict[str, Any], experiment: Experiment, prepared: Dataset, served: Bundle, on: Device
) -> Callable[[], loop.Measured]:
    """Return what measures the model on a few unchanged training images; nothing where none are wanted."""
    if not experiment.track.train_images:
        return lambda: ({}, {})
    feed = run.excerpt_of(experiment, prepared, "train", experiment.track.train_images, on.worker)
    kept = _loaded(setup, experiment, feed, "train")
    return lambda: loop.evaluate(served.model, served.tasks, kept, on)


def _loaded(setup: dict[str, Any], experiment: Experiment, feed: Feed, split: str) -> list[Batch]:
    """Return all batches of a small feed; they are kept, because a pipeline takes seconds to begin."""
    return list(data.stream(feed, setup["shards"][split], 0, feed.epoch_steps, experiment.train.prefetch))


def _wrap(model: FinetuneModel, compile: bool) -> nn.Module:  # noqa: A002 - as the setting is called
    """Make a model average its gradients over the workers, and compile it where that is asked."""
    wrapped: nn.Module = ray.train.torch.prepare_model(model, parallel_strategy_kwargs=dict(workers.ddp_options(model)))
    return compilation.compiled(wrapped) if compile else wrapped


def _report(trained: Bundle, state: State, on: Device, name: str, score: float) -> None:
    """Hand a checkpoint and its score to Ray Train, from every worker alike."""
    with tempfile.TemporaryDirectory(prefix="thaw-checkpoint-") as folder:
        saved = None
        if on.worker == 0:
            checkpoint.save(Path(folder), trained, state)
            saved = Checkpoint.from_directory(folder)
        figures = {"score": score, "epoch": state.history[-1].epoch if state.history else 0}
        ray.train.report(figures, checkpoint=saved, checkpoint_dir_name=name)


def _finish(root: Root, begun: RunRecord, result: ray.train.Result, wall_s: float) -> RunRecord:
    """Register the best checkpoint that Ray Train kept, and complete the run's record."""
    told: dict[str, Any] = result.return_value  # type: ignore[attr-defined] # of the V2 result, which fit() gives
    if "refused" in told:
        raise ConfigError(told["refused"])
    best, figures = max(result.best_checkpoints or [], key=lambda kept: float(kept[1]["score"]))
    with best.as_directory() as folder:
        return run.finish(root, begun, told["trained"], Path(folder), int(figures["epoch"]), wall_s)
