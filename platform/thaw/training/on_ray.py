"""The training stage on Ray: the workers of Ray Train, their data, their checkpoints, and what the driver does.

How a model learns stands in the modules beside this one; here is only what runs where.
"""

import functools
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import ray
import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thaw import bundle, catalog, golden, on_ray
from thaw.config.experiment import Experiment, Train
from thaw.console import say
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.errors import ClusterError, ThawError
from thaw.evaluation import card
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation import settled as settling
from thaw.evaluation.settled import Settled
from thaw.inspection import checking, gates
from thaw.registry import record as records
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.room import on_ray as room
from thaw.room.slot import Slot
from thaw.storage import Root, open_root
from thaw.training import checkpoint, monitor, report, run, transfer
from thaw.training.frozen_prefix.on_ray import shared_store
from thaw.training.report.page import Told
from thaw.training.run import Trained
from thaw.training.session import Seat, Setup
from thaw.training.transfer import Transfer
from thaw.training.work.on_ray import KEEP_MEMORY, outcome, work

_CHECKPOINTS = "checkpoints"

Shards = Mapping[str, data.Lendable]
"""Encoded rows in the object store, by split."""

_FEWEST_AT_ONCE, _MOST_AT_ONCE = 4, 256


def train(
    experiment: Experiment, prepared: Dataset | None = None, resume: str | None = None, run_id: str | None = None
) -> RunRecord:
    """Fine-tune, register the best checkpoint as the next version of the model, and return the run's record.

    Args:
        prepared: the experiment's dataset; prepared first when left out.
        resume: id of an interrupted run of this experiment, to be continued from its last checkpoint.
        run_id: what a run that begins is called; a new name when left out.

    Raises:
        ThawError: data, model, plan or cluster do not fit what is asked.
    """
    started = time.monotonic()
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    spent = monitor.seconds(root, resume) if resume else 0.0
    checking.refuse_unknown(experiment.data.allow, "data.allow")
    earlier = records.load(root, resume) if resume else None
    if earlier:
        experiment = run.resumed(root, earlier.id, experiment)
    if earlier and earlier.bundle:
        say(f"run {earlier.id} is complete: {earlier.bundle}")
        return earlier
    with on_ray.cluster(experiment.train.workers * experiment.train.cpus_per_worker):
        prepared = Dataset.load(root, earlier.dataset) if earlier else prepared or data.prepare(experiment)
        if not earlier:
            gates.check(root, experiment, prepared)
        prepared = run.dataset_of(experiment, prepared)
        on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus, experiment.cluster.wait_s)
        experiment = resolve(experiment)
        experiment = run.check(root, experiment, prepared)
        begun = earlier or run.begin(experiment, prepared, run_id)
        run.announce(root, begun, experiment)
        say(f"run {begun.id}: {run.describe(experiment, prepared)}")
        try:
            trained, best, epoch = fit(root, f"runs/{begun.id}", experiment, prepared, lent(root, prepared, experiment))
            with best.as_directory() as folder:
                done = register(root, begun, trained, Path(folder), epoch, spent + time.monotonic() - started)
        except BaseException:
            run.stop(root, begun)
            say(f"run {begun.id} stopped; `thaw train --resume {begun.id}` continues it from its last checkpoint")
            raise
    say(f"run {done.id}: {done.bundle} registered")
    return done


def register(root: Root, begun: RunRecord, trained: Trained, best: Path, best_epoch: int, wall_s: float) -> RunRecord:
    """Settle on the validation images how the best checkpoint answers, register it, and complete the run's record.

    Args:
        best: folder of the checkpoint saved after ``best_epoch``.
    """
    experiment = run.resumed(root, begun.id)
    with tempfile.TemporaryDirectory(prefix="thaw-register-") as place:
        leave_out = shutil.ignore_patterns(*checkpoint.TRAINING_ONLY)
        folder = Path(shutil.copytree(best, Path(place) / "bundle", ignore=leave_out))
        prepared, settled = Dataset.load(root, begun.dataset), dict[str, Settled]()
        if experiment.train.validates:  # else there are no images left to settle anything on
            settled = evaluation.settle(root, folder, experiment, prepared)
            for line in settling.lines(settled):
                say(line)
            values = {name: one.model_dump(mode="json") for name, one in settled.items()}
            root.write_json(f"runs/{begun.id}/evaluation/settled.json", values)
        loaded = bundle.load(folder)
        golden.write(loaded, golden.draw(root, prepared.without("test"), experiment.seed), folder)
        done = run.finish(root, begun, trained, folder, best_epoch, wall_s)
    told = Told(
        experiment=run.without_secrets(experiment),
        history=trained.history,
        plan=run.plan_of(experiment, loaded.model, run.dataset_of(experiment, prepared)),
        best_metrics={name: task.best_metric for name, task in loaded.tasks.items()},
        best_epoch=best_epoch,
        settled=settled,
        data=prepared.report,
    )
    report.publish(root, done, told)
    found = store.resolve(root, str(done.bundle).removeprefix("models/"))
    card.write(root, found, loaded.description, done)
    records.save(root, done)
    return done


def compare_single(experiment: Experiment, together: RunRecord) -> list[Transfer]:
    """Train each task of a finished run alone, with the same plan on the same images, and compare.

    Raises:
        ThawError: as for `train`; or the run was not of several tasks.
    """
    root = open_root(experiment.storage.root)
    transfer.check(experiment)
    prepared = Dataset.load(root, together.dataset)
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
    """Return the experiment with what was left out chosen for this cluster: the device, and batches decoded at once.

    Raises:
        ClusterError: workers, and decoding beside them, could never begin, and everything would wait for ever.
    """
    chosen, device = experiment.train, device_of(experiment)
    otherwise = "set train.device=cpu, " if device == "gpu" else ""
    advice = f"lower train.workers or train.cpus_per_worker, {otherwise}or add a node"
    room.ensure("train.workers, train.cpus_per_worker", _taken(chosen, device), experiment.cluster.wait_s, advice)
    prefetch = chosen.prefetch or min(_MOST_AT_ONCE, max(_FEWEST_AT_ONCE, round(decoding(chosen))))
    return experiment.model_copy(update={"train": chosen.model_copy(update={"device": device, "prefetch": prefetch})})


def device_of(experiment: Experiment) -> Literal["cpu", "gpu"]:
    """Return what is trained on: where it was left out, GPUs if the cluster has one for every worker, or brings it."""
    chosen, wait_s = experiment.train, experiment.cluster.wait_s
    return chosen.device or ("gpu" if room.possible(_taken(chosen, "gpu"), wait_s) else "cpu")


def _taken(chosen: Train, device: str) -> list[Slot]:
    """Return what workers take, and the least that decoding takes beside them."""
    worker = Slot.of(cpus=chosen.cpus_per_worker, gpus=1 if device == "gpu" else 0)
    decoder = Slot.of(cpus=chosen.decode.cpus, labels=chosen.decode.labels, **chosen.decode.resources)
    return [worker] * chosen.workers + [decoder]


def decoding(chosen: Train) -> float:
    """Return how many batches can be decoded at the same time for each worker, by the CPUs that are there for it."""
    cpus = on_ray.decoding_cpus(chosen.workers * chosen.cpus_per_worker, chosen.decode.resources, chosen.decode.labels)
    return cpus / chosen.decode.cpus / chosen.workers


def lent(root: Root, prepared: Dataset, experiment: Experiment) -> Shards:
    """Return the rows that training reads."""
    return {split: data.lent_shards(root, prepared, split, experiment.train) for split in ("train", "val")}


def fit(
    root: Root,
    path: str,
    experiment: Experiment,
    prepared: Dataset,
    shards: Shards,
    callbacks: Sequence[UserCallback] = (),
    tell: Callable[[str], None] = say,
    arrange: Callable[[Seat], Seat] | None = None,
    spread: bool = False,
) -> tuple[Trained, Checkpoint, int]:
    """Run the workers to the end of the plan, from the last checkpoint if there is one.

    Returns:
        What they came to, the best checkpoint, and its epoch.

    Args:
        path: folder below the root where curves, events and checkpoints are kept.
        shards: what `lent` returned.
        callbacks: of Ray Train, told of every report.
        tell: is given a line for a person after every epoch.
        arrange: makes of each worker's place the one that it takes; called in the worker.
        spread: put workers on as many nodes as there are, in place of as few as will do.

    Raises:
        ThawError: workers met something that a user can mend.
    """
    # A worker that dies soon after it reported would lose that epoch: the controller asks only so often.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    chosen = experiment.train
    with _told(tell) as channel, shared_store(chosen.cache) as kept:
        given = {
            "setup": Setup.of(experiment, prepared.without("test"), root, path),
            "channel": channel,
            "kept": kept,
            "shards": shards,
            "prefetch": chosen.prefetch,
            "decode": chosen.decode,
            "decoders": decoding(chosen),
            "batch": chosen.batch,
            "arrange": arrange,
        }
        trainer = TorchTrainer(  # bound, for what is given as a config Ray Train's controller reads too, and imports
            functools.partial(work, given),  # type: ignore[arg-type] # V2 hands rank 0's return value on; stubs are V1's
            scaling_config=ScalingConfig(
                num_workers=chosen.workers,
                use_gpu=chosen.device == "gpu",
                resources_per_worker={"CPU": chosen.cpus_per_worker},
                placement_strategy="SPREAD" if spread else "PACK",
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if chosen.device == "gpu" else "gloo"),
            run_config=RunConfig(
                name=_CHECKPOINTS,
                storage_path=root.path_of(path),
                storage_filesystem=root.filesystem,
                failure_config=FailureConfig(max_failures=chosen.max_failures),
                worker_runtime_env={"env_vars": KEEP_MEMORY if chosen.device == "cpu" else {}},  # type: ignore[call-arg]
                checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="score"),
                callbacks=list(callbacks),  # type: ignore[arg-type] # the stubs are V1's
            ),
        )
        try:
            result = trainer.fit()
        except TrainingFailedError as failure:
            raise _refusal_in(failure) or failure from None
    told: dict[str, Any] = result.return_value  # type: ignore[attr-defined] # of the V2 result, which fit() gives
    trained = outcome(told)
    best, figures = max(result.best_checkpoints or [], key=lambda kept: (float(kept[1]["score"]), kept[1]["epoch"]))
    return trained, best, int(figures["epoch"])


_LOOPBACK = re.compile(r"connectFullMesh failed.*remote=\[(127\.|::1)", re.DOTALL)
"""What Gloo says where one process finds another at no address that leads to it."""


def _refusal_in(failure: TrainingFailedError) -> ThawError | None:
    """Return what a user can mend among the workers' failures, or between them, if that is what ended the run."""
    causes = (getattr(error, "cause", error) for error in getattr(failure, "worker_failures", {}).values())
    mendable = next((error for error in causes if isinstance(error, ThawError)), None)
    if mendable is None and _LOOPBACK.search(str(failure)):
        return ClusterError(
            "the workers did not reach each other: a host's name leads to its own loopback; start Ray on every node "
            "with GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME) set to the network between them, such as eth0, and see "
            "what `thaw doctor` says of the all-reduce"
        )
    return mendable


@contextmanager
def _told(tell: Callable[[str], None]) -> Iterator[Queue]:
    """Give a channel through which workers say lines, and tell them here."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    channel = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    over = threading.Event()

    def listen() -> None:
        last = False
        while not last:
            last = over.wait(0.5)
            for line in channel.get_nowait_batch(channel.qsize()):
                tell(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield channel
    finally:
        over.set()
        listener.join(timeout=10)
        channel.shutdown()
