"""One trial on Ray: in place where one worker trains it, and as a run of Ray Train inside where several do.

A trial in place spares the seconds that Ray Train takes to begin, decodes in its own process, and shares what frozen
layers made of images with all others of the sweep.
"""

import functools
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from thaw import on_ray
from thaw.config.experiment import Experiment
from thaw.data import here
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.errors import ConfigError, DataError, ModelError
from thaw.storage import Root, patiently
from thaw.training import on_ray as training
from thaw.training import run, session
from thaw.training.frozen_prefix.fill import Store
from thaw.training.session import Seat, Setup
from thaw.training.state import Epoch
from thaw.training.step import Batch
from thaw.training.work.on_ray import SWITCH_S
from thaw.tuning import checkpoints
from thaw.tuning.schedule.on_ray import TRIAL


@dataclass(frozen=True)
class Task:
    """What all trials of a sweep are given alike.

    Attributes:
        experiment: gives the experiment of a trial's values.
        place: gives the folder of a trial by its number.
        shards: encoded rows by split.
        store: where what frozen layers make of images is kept for all trials.
        trials_per_node: that share the cores of a node.
        check_attempt: refuses to go on once another driver works on the sweep.
    """

    root: Root
    prepared: Dataset
    experiment: Callable[[dict[str, Any]], Experiment]
    place: Callable[[int], str]
    shards: Mapping[str, data.Held]
    store: Store | None
    trials_per_node: int
    check_attempt: Callable[[], None]


def work(config: dict[str, Any], task: Task) -> None:
    """Train one trial to its end, from its last checkpoint if it has one.

    Args:
        config: ``trial``, its number; ``values``; and ``known``, the epochs that were written down before.
    """
    place = task.place(int(config[TRIAL]))
    try:
        experiment = run.check(task.root, task.experiment(config["values"]), task.prepared)
        _tell_again(task, experiment, place, int(config["known"]))
        if experiment.train.workers > 1:  # what they report is handed on as it is
            callback = TuneReportCallback()  # type: ignore[no-untyped-call]
            training.fit(task.root, place, experiment, task.prepared, task.shards, [callback], _silent)
        else:
            _train_in_place(task, experiment, place)
        tune.report({"ended": True})
    except (ConfigError, ModelError, DataError) as error:  # it would fail again; others may not
        tune.report({"refused": str(error)})


def _train_in_place(task: Task, experiment: Experiment, place: str) -> None:
    sys.setswitchinterval(SWITCH_S)
    on_gpu = experiment.train.device == "gpu"
    decoding = max(1, int(experiment.train.cpus_per_worker)) if on_gpu else 1

    def stream(split: str, feed: Feed, start: int, stop: int) -> Generator[Batch]:
        return here.stream(feed, _Fetched(task.shards[split]), start, stop, decoding)

    def report(_name: str, folder: Path | None, history: Sequence[Epoch] | None) -> None:
        if folder and history:
            task.check_attempt()
            patiently(functools.partial(checkpoints.keep, task.root, place, folder, history), _silent)
            tune.report(session.figures(history, experiment.train.batch))

    seat = Seat(
        device=torch.device("cuda" if on_gpu else "cpu"),
        threads=max(1, on_ray.cores() // task.trials_per_node),
        stream=stream,
        store=task.store,
        last=functools.partial(checkpoints.last, task.root, place),
        report=report,
        tell=_silent,
    )
    session.train(Setup.of(experiment, task.prepared, task.root, place), seat)


def _tell_again(task: Task, experiment: Experiment, place: str, known: int) -> None:
    """Report epochs that were saved, but not told of before their process or the driver ended."""
    with checkpoints.last(task.root, place) as folder:
        history = checkpoints.history(folder) if folder else []
    for place_of, epoch in enumerate(history, start=1):
        if epoch.epoch > known:
            tune.report(session.figures(history[:place_of], experiment.train.batch))


def _silent(_line: str) -> None:
    """Tell nobody: the driver tells of all trials."""


class _Fetched(Sequence[pa.Table]):
    """Tables of the object store, read in place when they are asked for."""

    def __init__(self, references: "Sequence[ray.ObjectRef[pa.Table]]") -> None:
        self._references = references

    def __len__(self) -> int:
        return len(self._references)

    def __getitem__(self, place: Any) -> Any:
        return ray.get(self._references[place])
