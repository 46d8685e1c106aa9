"""Session: what one worker of a run does, from its first step or its last checkpoint to the end of the plan.

Where it runs, how batches reach it and who hears of it is handed in as a `Seat`; nothing here knows Ray.
"""

import functools
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
from numpy.typing import NDArray
from torch import nn

from thaw import bundle, processor
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.model import FinetuneModel
from thaw.storage import Root
from thaw.training import checkpoint, compilation, diagnosis, loop, monitor, precision, run, trackers, waiting
from thaw.training.frozen_prefix.cache import FrozenPrefix, Images
from thaw.training.frozen_prefix.fill import Store
from thaw.training.loop import Batch, Batches, Device, Pause, State
from thaw.training.monitor import Told
from thaw.training.plan import FinetunePlan
from thaw.training.run import Trained
from thaw.training.state import Epoch
from thaw.training.validation import Validation
from thaw.training.waiting import Supply


@dataclass(frozen=True)
class Setup:
    """What all workers of a run are given alike; plain data, for it crosses to other processes.

    Attributes:
        experiment, dataset: as they are written down.
        run_path: folder in the root where curves and events are kept.
        chances: how likely each training image is to be drawn, as `run.chances` returned it.
    """

    experiment: dict[str, Any]
    dataset: dict[str, Any]
    root: Root
    run_path: str
    chances: NDArray[Any] | None

    @classmethod
    def of(cls, experiment: Experiment, prepared: Dataset, root: Root, run_path: str) -> "Setup":
        """Return the setup of a run that has been checked."""
        values, dataset = experiment.model_dump(mode="json"), prepared.model_dump(mode="json")
        return cls(values, dataset, root, run_path, run.chances(root, experiment, prepared))


@dataclass(frozen=True)
class Seat:
    """The place of one worker, and its ways to the rest.

    Attributes:
        threads: for arithmetic on a CPU.
        stream: yields the batches of a feed of a split, from one step to before another.
        store: where what frozen layers make of images is kept; None where it is not.
        wrap: makes a model average its gradients over the workers.
        last: gives the folder of the run's last checkpoint; None where there is none.
        report: is handed the name of a checkpoint, its folder with the first worker, and the epochs so far if it ends
            one; None inside an epoch. Called by all workers alike.
        tell: is given lines for a person.
        decoders: batches that can be decoded at the same time for this worker; 0 where that is not known.
        begins: is told the number of each step as its batch is there.
    """

    device: torch.device
    threads: int
    stream: Callable[[str, Feed, int, int], Generator[Batch]]
    store: Store | None
    last: Callable[[], AbstractContextManager[Path | None]]
    report: Callable[[str, Path | None, Sequence[Epoch] | None], None]
    tell: Callable[[str], None]
    worker: int = 0
    workers: int = 1
    wrap: Callable[[FinetuneModel], nn.Module] = lambda model: model
    decoders: float = 0.0
    begins: Callable[[int], None] = lambda _step: None


def train(setup: Setup, seat: Seat) -> Trained:
    """Train to the end of the plan, report every epoch, and return what it came to.

    Raises:
        ThawError: what the experiment asks for cannot be done here.
    """
    experiment = config.parse(setup.experiment, setup.run_path)
    prepared = Dataset.model_validate(setup.dataset)
    on = device_of(experiment, seat.device, seat.threads, seat.worker, seat.workers)
    if experiment.train.compile:
        compilation.check(on.device.type)
    trained = model_of(experiment, prepared, on)
    plan = run.plan_of(experiment, trained.model, prepared)
    state = _state(trained, plan, experiment, on, seat)
    environment = state.environment = _environment(on)
    tell = seat.tell if on.worker == 0 else (lambda _line: None)
    tell(f"{environment['device']} in {environment['precision']}, from step {state.step} of {plan.steps}")
    served = replace(trained, model=state.served(trained.model))
    images = _images(setup, seat, experiment, prepared, trained, plan, on, tell)
    validation = _validation(setup, seat, experiment, prepared, images, served, state.average is not None, on)
    progress = loop.fit(
        trained.model,
        trained.tasks,
        plan,
        experiment.finetune,
        state,
        batches=functools.partial(_watched, images.batches, seat.begins),
        validate=validation,
        on=on,
        seed=experiment.seed,
        wrap=functools.partial(_wrapped, seat.wrap, compile=experiment.train.compile),
        excerpt=_excerpt(seat, experiment, prepared, served, on),
        pause_steps=experiment.train.checkpoint_steps,
    )
    subjects = run.subjects(experiment, prepared, trained.tasks)
    supply, said = Supply(dataset.shorter_side(setup.root, prepared), seat.decoders), ""
    followers = trackers.begin(setup.root, setup.run_path, experiment, tell) if on.worker == 0 else None
    # What was told of an epoch that is to be finished after a restart would be told twice.
    epoch_start = state.step // plan.epoch_steps * plan.epoch_steps
    with monitor.Monitor(setup.root, setup.run_path, plan, epoch_start) as watch, followers or nullcontext():
        watch.begin(run.without_secrets(experiment))
        for one in progress:
            if isinstance(one, Pause):
                _report(trained, state, on, seat, f"step_{state.step:08d}", None)
                continue
            if on.worker == 0:
                found = diagnosis.diagnose(state.history, subjects)
                watch.tell(one, state.history, trained.tasks, Told(found, validation.seen))
            if followers:
                followers.tell(state.history)
            _report(trained, state, on, seat, f"epoch_{one.epoch.epoch:04d}", state.history)
            tell(monitor.line(one.epoch, plan.steps // plan.epoch_steps))
            said = _tell_of_waiting(one.epoch, experiment, supply, said, tell)
            for line in diagnosis.news(state.history, subjects):
                tell(line)
    told = diagnosis.diagnose(state.history, subjects)
    return Trained(state.history, trained.description.origin, environment, told)


def _watched(batches: Batches, begins: Callable[[int], None], start: int, stop: int) -> Generator[Batch]:
    """Yield the batches of steps, and say of each step that it begins."""
    with closing(batches(start, stop)) as stream:
        for step, batch in enumerate(stream, start=start):
            begins(step)
            yield batch


def _tell_of_waiting(
    epoch: Epoch, experiment: Experiment, supply: Supply, said: str, tell: Callable[[str], None]
) -> str:
    """Say what to do about waiting for data, unless that was said last; return it."""
    advised = waiting.advice(epoch, experiment, supply)
    if advised not in ("", said):
        tell(advised)
    return advised or said


def figures(history: Sequence[Epoch], batch: int) -> dict[str, Any]:
    """Return what whoever watches a run is told after an epoch, as plain values.

    Args:
        batch: images per step.
    """
    last = history[-1]
    return {
        "epoch": last.epoch,
        "images": len(history) * (last.step // last.epoch) * batch,  # early stopping skips epochs and their steps
        "depth": last.depth,
        "score": last.score,
        "metrics": last.metrics,
    }


def device_of(experiment: Experiment, device: torch.device, threads: int, worker: int = 0, workers: int = 1) -> Device:
    """Return where a worker computes, and make it use so many threads there."""
    if device.type == "cpu":
        torch.set_num_threads(threads)
    chosen = experiment.train.precision or precision.best(device.type)
    return Device(device, precision.DTYPES[chosen], worker, workers, experiment.train.accumulate)


def model_of(experiment: Experiment, prepared: Dataset, on: Device) -> Bundle:
    """Return the model as it is before the first step, on its device."""
    trained = bundle.create(experiment, prepared.labels)
    trained.model.to(on.device).to(memory_format=torch.channels_last)
    if on.device.type == "cpu" and on.autocast is not None:
        precision.learn_depthwise_in_fp32(trained.model)
    return trained


def _environment(on: Device) -> dict[str, str | int]:
    """Return what a run's figures depend on besides its experiment."""
    cpu = f"{processor.facts().get('cpu_name', 'CPU')} x {torch.get_num_threads()}"
    return {
        "device": torch.cuda.get_device_name(on.device) if on.device.type == "cuda" else cpu,
        "precision": precision.name(on.autocast),
        "workers": on.workers,
        "ray": version("ray"),
        "torch": str(torch.__version__),
        "timm": timm.__version__,
    }


def _state(trained: Bundle, plan: FinetunePlan, experiment: Experiment, on: Device, seat: Seat) -> State:
    """Return where this run stands: at its last checkpoint, or at the beginning."""
    scaled = on.autocast == torch.float16
    with seat.last() as folder:
        if folder is None:
            return checkpoint.fresh(trained, plan, experiment.finetune, scaled)
        return checkpoint.load(folder, trained, plan, experiment.finetune, scaled)


def _images(
    setup: Setup,
    seat: Seat,
    experiment: Experiment,
    prepared: Dataset,
    trained: Bundle,
    plan: FinetunePlan,
    on: Device,
    tell: Callable[[str], None],
) -> FrozenPrefix:
    """Return where this worker's batches come from: of pixels, or kept of what frozen layers made of them."""
    train, val = (_split(setup, seat, experiment, prepared, split) for split in ("train", "val"))
    return FrozenPrefix(trained, plan, experiment.train.cache, seat.store, train, val, on, tell)


def _split(setup: Setup, seat: Seat, experiment: Experiment, prepared: Dataset, split: str) -> Images:
    feed = run.feed_of(experiment, prepared, split, seat.worker, setup.chances)
    name = experiment.train.learn_from if split == "train" else split
    return Images(f"{prepared.fingerprint} {name}", feed, functools.partial(seat.stream, split))


def _validation(
    setup: Setup,
    seat: Seat,
    experiment: Experiment,
    prepared: Dataset,
    images: FrozenPrefix,
    served: Bundle,
    averaged: bool,
    on: Device,
) -> Validation:
    """Return what measures the model that is served; the layers of an average are not those that images were cut at."""
    if not experiment.train.validates:
        return Validation(served, None, (), on)
    plain = _split(setup, seat, experiment, prepared, "val")
    batches = functools.partial(plain.stream, plain.feed, 0, plain.feed.epoch_steps) if averaged else images.validation
    shown: list[Batch] = []
    if on.worker == 0 and experiment.track.pictures:
        single = experiment.model_copy(update={"train": experiment.train.model_copy(update={"workers": 1})})
        shown = _loaded(seat, run.excerpt_of(single, prepared, "val", experiment.track.pictures), "val")
    return Validation(served, batches, shown, on)


def _excerpt(
    seat: Seat, experiment: Experiment, prepared: Dataset, served: Bundle, on: Device
) -> Callable[[], loop.Measured]:
    """Return what measures the model on a few unchanged training images; nothing where none are wanted."""
    if not experiment.track.train_images:
        return lambda: ({}, {})
    feed = run.excerpt_of(experiment, prepared, "train", experiment.track.train_images, on.worker)
    kept = _loaded(seat, feed, "train")
    return lambda: loop.evaluate(served.model, served.tasks, kept, on)


def _loaded(seat: Seat, feed: Feed, split: str) -> list[Batch]:
    """Return all batches of a small feed; they are kept, because a pipeline takes seconds to begin."""
    return list(seat.stream(split, feed, 0, feed.epoch_steps))


def _wrapped(
    wrap: Callable[[FinetuneModel], nn.Module],
    model: FinetuneModel,
    compile: bool,  # noqa: A002 - as the setting is called
) -> nn.Module:
    """Return a model that averages its gradients over the workers, and is compiled where that is asked."""
    wrapped = wrap(model)
    return compilation.compiled(wrapped) if compile else wrapped


def _report(trained: Bundle, state: State, on: Device, seat: Seat, name: str, history: Sequence[Epoch] | None) -> None:
    """Report from every worker alike; the first one has a checkpoint to hand over."""
    with tempfile.TemporaryDirectory(prefix="thaw-checkpoint-") as folder:
        if on.worker == 0:
            checkpoint.save(Path(folder), trained, state)
        seat.report(name, Path(folder) if on.worker == 0 else None, history)
