"""Work: a verb with its arguments, as it is to be done on a cluster, and what it names on this machine."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thaw.config.experiment import Experiment, default_root
from thaw.errors import ConfigError
from thaw.registry import record as records

NAMED_RUNS = ("train", "tune")
"""Verbs that can be given the name of their run beforehand, and so continue it when they are tried again."""

HERE_ONLY = ("submit", "init", "fetch", "preview", "schema", "demo")
"""Verbs that leave files for a person on the machine where they run, or speak of it: a job's folder is deleted."""


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        verb: as it is written on the command line.
        arguments: what follows it.
        files: paths of this machine that the arguments and the experiment name, as they are written there.
        storage: the storage root that is asked for; None leaves it to the cluster's THAW_STORAGE.
        experiment: None where the verb was given none.
        run: name of the run; None for verbs that have none.
        others: places beside the storage root that all nodes must reach, by what they are called.
    """

    verb: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]
    storage: str | None
    experiment: Experiment | None
    run: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, verb: str, arguments: Sequence[str], parsed: argparse.Namespace, experiment: Experiment | None
    ) -> "Work":
        """Return the work of a command line, with a run that has a name.

        Args:
            parsed: the arguments as the verb understands them.

        Raises:
            ConfigError: it cannot be done on a cluster.
        """
        if verb in HERE_ONLY:
            raise ConfigError(f"thaw {verb} works on this machine; run it without submitting it")
        files = dict.fromkeys([*_in_values(vars(parsed)), *_in_experiment(experiment)])
        storage = parsed.storage if getattr(parsed, "storage", None) else _root_of(experiment)
        whole = cls(verb, tuple(arguments), tuple(files), storage, experiment, others=_others(parsed))
        return whole._named(parsed) if verb in NAMED_RUNS else whole

    def _named(self, parsed: argparse.Namespace) -> "Work":
        given = parsed.resume or parsed.run
        if given:
            records.check_id(given)
            return replace(self, run=given)
        if self.experiment is None:
            raise ConfigError(f"thaw {self.verb}: give an experiment, or --resume what was interrupted")
        run = records.new_run_id(self.experiment.name)
        return replace(self, run=run, arguments=(*self.arguments, "--run", run))


def renamed(words: Sequence[str], names: Mapping[str, str]) -> Iterator[str]:
    """Yield arguments with what they name called otherwise, whether it stands alone or after an option and =."""
    for word in words:
        option, equals, value = word.partition("=")
        if word in names:
            yield names[word]
        elif option.startswith("--") and equals and value in names:
            yield f"{option}={names[value]}"
        else:
            yield word


def _root_of(experiment: Experiment | None) -> str | None:
    root = experiment.storage.root if experiment else default_root()
    return None if root == default_root() and "://" not in root and not Path(root).is_absolute() else root


def _others(parsed: argparse.Namespace) -> dict[str, str]:
    """Return the folders of a prediction that its nodes read and write."""
    out = getattr(parsed, "out", None) if hasattr(parsed, "images") else None
    return {"--out": out, "IMAGES": parsed.images[0]} if out else {}


def _in_values(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what arguments name and is a file here."""
    for value in values.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and "\n" not in one and Path(one).is_file():
                yield one


def _in_experiment(experiment: Experiment | None) -> Iterator[str]:
    """Yield the small files that an experiment names; refuse what is too large to travel.

    Raises:
        ConfigError: images or weights are named by a path that only this machine can follow.
    """
    if experiment is None:
        return
    source = getattr(experiment.data.source, "path", None)
    for place, path in (("data.source.path", source), ("model.weights.path", experiment.model.weights.path)):
        if path and "://" not in path and not Path(path).is_absolute():
            raise ConfigError(
                f"{place}: {path!r} is relative to a folder of this machine; give a path or URI that every node reaches"
            )
    slices = experiment.evaluate.slices
    for path in (experiment.data.split.file, slices.path if slices else None):
        if path and "://" not in path and not Path(path).is_absolute():
            yield path
