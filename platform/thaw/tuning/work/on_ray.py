"""One trial on Ray: in place where one worker trains it, and as a run of Ray Train inside where several do.

A trial in place spares the seconds that Ray Train takes to begin, decodes in its own process, and shares what frozen
layers made of images with all others of the sweep.
"""

import functools
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from thaw.config.experiment import Experiment
from thaw.data import here
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.errors import ThawError
from thaw.storage import Root
from thaw.training import on_ray as training
from thaw.training import run, session
from thaw.training.frozen_prefix.fill import Store
from thaw.training.session import Seat, Setup
from thaw.training.state import Epoch
from thaw.training.step import Batch
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
        threads: of a trial on CPUs.
    """

    root: Root
    prepared: Dataset
    experiment: Callable[[dict[str, Any]], Experiment]
    place: Callable[[int], str]
    shards: training.Shards
    store: Store | None
    threads: int


def work(config: dict[str, Any], task: Task) -> None:
    """Train one trial to its end, from its last checkpoint if it has one.

    Args:
        config: ``trial``, its number; ``values``; and ``known``, the epochs that were written down before.
    """
    place = task.place(int(config[TRIAL]))
    try:
        experiment = task.experiment(config["values"])
        experiment = run.check(task.root, experiment, task.prepared)
        if experiment.train.workers > 1:  # what they report is handed on as it is
            callback = TuneReportCallback()  # type: ignore[no-untyped-call]
            training.fit(task.root, place, experiment, task.prepared, task.shards, [callback], _silent)
        else:
            _in_place(task, experiment, place, int(config["known"]))
        tune.report({"ended": True})
    except ThawError as error:  # what a user could mend would fail again
        tune.report({"refused": str(error)})


def _in_place(task: Task, experiment: Experiment, place: str, known: int) -> None:
    sys.setswitchinterval(training.SWITCH_S)
    _tell_again(task, experiment, place, known)

    def stream(split: str, feed: Feed, start: int, stop: int) -> Generator[Batch]:
        return here.stream(feed, _Fetched(task.shards[split]), start, stop)

    def report(_name: str, folder: Path | None, history: Sequence[Epoch] | None) -> None:
        if folder and history:
            checkpoints.keep(task.root, place, folder, history)
            tune.report(session.figures(history, experiment.train.batch))

    seat = Seat(
        device=torch.device("cuda" if experiment.train.device == "gpu" else "cpu"),
        threads=task.threads,
        stream=stream,
        store=task.store,
        last=functools.partial(checkpoints.last, task.root, place),
        report=report,
        tell=_silent,
    )
    session.train(Setup.of(experiment, task.prepared, task.root, place), seat)


def _tell_again(task: Task, experiment: Experiment, place: str, known: int) -> None:
    """Report epochs that were saved, but not told of before their process ended."""
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
