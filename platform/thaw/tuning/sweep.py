"""Sweep: what was searched and how far it came, in ``sweeps/<sweep id>/``.

``sweep.json`` says what was asked for and each ``trials/<number>/trial.json`` what came of it. They are plain JSON,
written by the driver alone, and all that a sweep is continued from: nothing that was pickled is ever read back.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import thaw
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data.dataset import Dataset
from thaw.errors import ConfigError, StorageError
from thaw.registry import record as records
from thaw.storage import Root
from thaw.training import run
from thaw.tuning.refit import Images
from thaw.tuning.study import Study
from thaw.tuning.trial import Trial

FOLDER = "sweeps"


class Sweep(BaseModel):
    """One sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    id: str
    """Name of its folder."""
    created: str
    """When it began, ISO 8601 in UTC."""
    thaw_version: str
    git_commit: str | None
    experiment: dict[str, Any]
    """The experiment as it was written, resolved: trial 0, and what all others are drawn from."""
    study: dict[str, Any]
    """What is searched and how, as it was written, with every default."""
    dataset: str
    """Where the prepared dataset is below the root."""
    refit: Images | None = None
    """What the best trial is to be trained anew on; None registers the trial as it is."""
    attempts: int = 1
    """Drivers that worked on it, one after another."""
    stage: Literal["running", "finished"] = "running"
    run_id: str | None = None
    """The run that the best trial, or its training anew, is written down as."""
    trial: int | None = None
    """Number of that trial."""

    @property
    def path(self) -> str:
        """Its folder below the root."""
        return f"{FOLDER}/{self.id}"


def begin(
    root: Root,
    experiment: Experiment,
    study: Study,
    prepared: Dataset,
    refit: Images | None = None,
    sweep_id: str | None = None,
) -> Sweep:
    """Write down that a sweep begins.

    Args:
        sweep_id: a new one when left out.
    """
    begun = Sweep(
        id=sweep_id or records.new_run_id(f"{experiment.name[:40]}-{study.name[:20]}"),
        created=records.utc_now(),
        thaw_version=thaw.__version__,
        git_commit=os.environ.get("THAW_GIT_COMMIT") or records.git_commit(Path.cwd()),
        experiment=run.without_secrets(experiment).model_dump(mode="json"),
        study=study.model_dump(mode="json"),
        dataset=prepared.path,
        refit=refit,
    )
    save(root, begun)
    return begun


def again(root: Root, earlier: Sweep, study: Study, refit: Images | None) -> Sweep:
    """Write down that another driver goes on with a sweep.

    Args:
        refit: left out, what was asked for before; with another one, the best trial is to be written down anew.
    """
    grown = {"attempts": earlier.attempts + 1, "study": study.model_dump(mode="json")}
    if refit and refit != earlier.refit:
        grown |= {"refit": refit, "run_id": None, "trial": None}
    current = earlier.model_copy(update=grown)
    save(root, current)
    return current


def save(root: Root, sweep: Sweep) -> None:
    """Write ``sweep.json``."""
    root.write_json(_path(sweep.id), sweep.model_dump(mode="json"))


def exists(root: Root, sweep_id: str) -> bool:
    """Return whether a sweep of this id was begun.

    Raises:
        ConfigError: it cannot be the id of a sweep.
    """
    records.check_id(sweep_id)
    return root.exists(_path(sweep_id))


def load(root: Root, sweep_id: str) -> Sweep:
    """Return a sweep by its id.

    Raises:
        StorageError: there is none of this name, or it is of another version of Thaw.
    """
    if not re.fullmatch(records.RUN_ID, sweep_id) or not root.exists(_path(sweep_id)):
        known = ", ".join(root.list(FOLDER)[-5:]) or "none yet"
        raise StorageError(f"--resume {sweep_id}: no such sweep in {root.shown(FOLDER)}; the newest are: {known}")
    try:
        return Sweep.model_validate(root.read_json(_path(sweep_id)))
    except ValidationError as error:
        raise StorageError(f"{root.shown(FOLDER)}/{sweep_id}: of another version of Thaw: {error}") from None


def _path(sweep_id: str) -> str:
    return f"{FOLDER}/{sweep_id}/sweep.json"


def experiment_of(root: Root, sweep: Sweep) -> Experiment:
    """Return the experiment that a sweep began with, in the root where it was found."""
    return config.parse({**sweep.experiment, "storage": {"root": root.uri}}, sweep.path)


def continued(sweep: Sweep, experiment: Experiment | None, study: Study | None) -> Study:
    """Return what a sweep is to be continued with: its own study, or one with another budget or number of trials.

    Raises:
        ConfigError: experiment or study differ in more from what it began with.
    """
    only = f"sweep {sweep.id} can be continued only as it was begun, and"
    if experiment is not None:
        asked = run.without_secrets(experiment).model_dump(mode="json", exclude={"storage", "cluster", "serve"})
        asked["train"]["device"] = asked["train"]["device"] or sweep.experiment["train"]["device"]
        if different := sorted(key for key in asked if asked[key] != sweep.experiment[key]):
            raise ConfigError(f"{only} {', '.join(different)} differ; leave the experiment out")
    if study is None:
        return Study.model_validate(sweep.study)
    now, begun = (_fixed(one) for one in (study.model_dump(mode="json"), sweep.study))
    if different := sorted(key for key in now if now[key] != begun.get(key)):
        raise ConfigError(f"{only} {', '.join(different)} of its space differ; leave --space out")
    return study


def _fixed(study: dict[str, Any]) -> dict[str, Any]:
    """Return what may not change of a study: how much it may cost is left out."""
    search = {key: value for key, value in study["search"].items() if key != "trials"}
    return {**{key: value for key, value in study.items() if key != "budget"}, "search": search}


def check_attempt(root: Root, sweep: Sweep) -> None:
    """Refuse to go on for a driver that is gone, while another one works on its sweep.

    Raises:
        ConfigError: there is another one.
    """
    if load(root, sweep.id).attempts != sweep.attempts:
        raise ConfigError(f"sweep {sweep.id} is continued by another driver")


def check_drawn(written: Experiment, drawn: Experiment) -> None:
    """Refuse a trial that would need other prepared data, or other machines, than the rest.

    Raises:
        ConfigError: what was drawn changes them.
    """
    for place, one, other in (
        ("data", _prepared_by(written), _prepared_by(drawn)),
        ("train.workers", written.train.workers, drawn.train.workers),
        ("train.learn_from", written.train.learn_from, drawn.train.learn_from),
        ("train.cpus_per_worker", written.train.cpus_per_worker, drawn.train.cpus_per_worker),
        ("train.device", written.train.device, drawn.train.device),
        ("storage", written.storage, drawn.storage),
        ("name", written.name, drawn.name),
    ):
        if one != other:
            raise ConfigError(
                f"{place} cannot be searched: all trials share the prepared data and the cluster; search data.image, "
                "data.augment, model, finetune, train.batch, or a task's loss"
            )


def _prepared_by(experiment: Experiment) -> dict[str, Any]:
    """Return the settings that the prepared data follows from."""
    values = experiment.data.model_dump(mode="json", exclude={"image", "augment", "allow"})
    tasks = {name: (one.type, one.column, one.classes) for name, one in experiment.tasks.items()}
    return {**values, "tasks": tasks}


def place_of(sweep: Sweep, number: int) -> str:
    """Return the folder of a trial below the root."""
    return f"{sweep.path}/trials/{number:04d}"


def save_trial(root: Root, sweep: Sweep, trial: Trial) -> None:
    """Write down what a trial has come to."""
    root.write_json(f"{place_of(sweep, trial.number)}/trial.json", trial.model_dump(mode="json"))


def trials(root: Root, sweep: Sweep) -> list[Trial]:
    """Return all trials that were begun, by number."""
    places = [f"{sweep.path}/trials/{name}/trial.json" for name in root.list(f"{sweep.path}/trials")]
    return [Trial.model_validate(root.read_json(place)) for place in places if root.exists(place)]


def seconds(found: Sequence[Trial]) -> float:
    """Return how long a sweep has run, over all its attempts, by when trials last told of an epoch."""
    return max((report.at_s for trial in found for report in trial.reports), default=0.0)
