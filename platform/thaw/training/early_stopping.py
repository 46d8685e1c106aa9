"""Early stopping: how good an epoch was, and whether a phase has stopped getting better, read off the history alone.

The same score chooses the checkpoint that is registered.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from thaw import catalog
from thaw.config.experiment import EarlyStopping
from thaw.errors import ConfigError
from thaw.metrics import summary
from thaw.tasks.contract import Task

LOSS = "loss"
_PLACE = "finetune.early_stopping.monitor"


class Scored(Protocol):
    """An epoch, as far as stopping is concerned."""

    @property
    def phase(self) -> int:
        """The place of its phase."""

    @property
    def score(self) -> float:
        """How good it was on the validation images; higher is better."""


def is_due(history: Sequence[Scored], options: EarlyStopping) -> bool:
    """Return whether the last epoch's phase has gone ``patience`` epochs without a better score."""
    if options.patience is None or not history:
        return False
    scores = [epoch.score for epoch in history if epoch.phase == history[-1].phase]
    best, since = float("-inf"), 0
    for score in scores:
        if score > best + options.min_delta:
            best, since = score, 0
        else:
            since += 1
    return since >= options.patience


def check(tasks: Mapping[str, Task], options: EarlyStopping, labelled: Mapping[str, int]) -> None:
    """Refuse a monitor that no epoch could have a value of.

    Args:
        labelled: validation images that carry a label, by task.

    Raises:
        ConfigError: its task gives no such metric, or no validation image carries a label for it.
    """
    if options.monitor is None:
        return
    name, metric = _parts(tasks, options.monitor)
    known = (*tasks[name].metrics, LOSS)
    if metric not in known and not summary.is_of_a_class(metric, tasks[name].labels.names):
        hint = catalog.did_you_mean(metric, known)
        raise ConfigError(f"{_PLACE}: task {name} has no metric {metric!r}; it has {', '.join(known)}{hint}")
    if not labelled.get(name):
        raise ConfigError(f"{_PLACE}: no validation image carries a label for {name}; monitor another task")


def score(
    tasks: Mapping[str, Task],
    options: EarlyStopping,
    val_loss: Mapping[str, float],
    metrics: Mapping[str, Mapping[str, float]],
) -> float:
    """Return how good an epoch was; higher is better, so what should be low counts below zero.

    Raises:
        ConfigError: what is monitored has no value, such as a ranking metric where validation lacks a class.
    """
    if options.monitor is None:
        found = [metrics[name][task.best_metric] for name, task in tasks.items() if metrics.get(name)]
        return sum(found) / len(found) if found else 0.0
    name, metric = _parts(tasks, options.monitor)
    values = {**metrics.get(name, {}), **({LOSS: val_loss[name]} if name in val_loss else {})}
    if metric not in values:
        raise ConfigError(
            f"{_PLACE}: the validation images give no {metric} of task {name}; they give {', '.join(values) or 'none'}"
        )
    if not math.isfinite(values[metric]):
        raise ConfigError(
            f"{_PLACE}: {metric} of task {name} is not a finite number on the validation images: the weights have "
            "grown too large; lower finetune.phases rates, or set finetune.optimizer.clip_norm"
        )
    return -values[metric] if metric in (LOSS, *tasks[name].lower) else values[metric]


def _parts(tasks: Mapping[str, Task], monitor: str) -> tuple[str, str]:
    name, _, metric = monitor.partition(".")
    return name, metric or tasks[name].best_metric
