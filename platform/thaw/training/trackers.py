"""Trackers: MLflow and Weights & Biases, told what TensorBoard is told, from the first training process.

They only listen: one that fails is warned of once, and what it missed is told again after the next epoch; training goes
on. Their ids of a run are kept with the run, so a restart or ``--resume`` continues it and tells no epoch twice.
"""

import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from thaw.config.experiment import Experiment, Mlflow, Track, Wandb
from thaw.errors import ConfigError
from thaw.storage import Root
from thaw.training import monitor
from thaw.training.loop import Epoch

_KEPT = "trackers"
"""Folder of a run with each tracker's id of it, and the last epoch that it was told of."""
_PARAMETERS, _METRICS, _LONGEST = 100, 1000, 500
"""Parameters and metrics that MLflow takes at once, and letters of a parameter."""
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Else MLflow's client would hold up training for many minutes where its server does not answer."""


class Tracker(Protocol):
    """One run as a tracker has it."""

    id: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record an epoch's figures."""

    def flush(self) -> None:
        """Make sure that what was recorded outlives this process."""

    def close(self, failed: bool) -> None:
        """Say that the run is over, for now or for good."""


def check(options: Track) -> None:
    """Refuse trackers whose package is not installed.

    Raises:
        ConfigError: the extra is missing.
    """
    for name in _KINDS:
        if getattr(options, name) is not None and importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"track.{name}: the package {name} is not installed; run `pip install 'thaw-vision[{name}]'` wherever "
                f"training runs, or remove track.{name}"
            )


def begin(root: Root, run_path: str, experiment: Experiment, warn: Callable[[str], None]) -> "Trackers | None":
    """Return the trackers that an experiment names; None where it names none."""
    chosen = [name for name in _KINDS if getattr(experiment.track, name) is not None]
    return Trackers(chosen, root, run_path, experiment, warn) if chosen else None


class Trackers:
    """All trackers of one run."""

    def __init__(
        self, names: Sequence[str], root: Root, run_path: str, experiment: Experiment, warn: Callable[[str], None]
    ) -> None:
        """Name the trackers; each begins with the first epoch."""
        self._names, self._root, self._path, self._experiment = names, root, run_path, experiment
        self._warn = warn
        self._begun: dict[str, Tracker] = {}
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, tracker in self._begun.items():
            self._safely(name, partial(tracker.close, kind is not None))

    def tell(self, history: Sequence[Epoch]) -> None:
        """Tell every tracker of all epochs that it was not told of: the last one, and those at which it failed."""
        for name in self._names:
            self._safely(name, partial(self._catch_up, name, history))

    def _catch_up(self, name: str, history: Sequence[Epoch]) -> None:
        place = f"{self._path}/{_KEPT}/{name}.json"
        kept: dict[str, Any] = self._root.read_json(place) if self._root.exists(place) else {"id": None, "epoch": 0}
        if name not in self._begun:
            self._begun[name] = _KINDS[name](self._root, self._path, self._experiment, kept["id"])
        tracker = self._begun[name]
        self._root.write_json(place, kept | {"id": tracker.id})
        missed = [epoch for epoch in history if epoch.epoch > kept["epoch"]]
        for epoch in missed:
            tracker.log(monitor.flat(epoch), epoch.step)
        tracker.flush()
        self._root.write_json(place, {"id": tracker.id, "epoch": history[-1].epoch})

    def _safely(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a tracker or its network does, training goes on
            if name not in self._warned:
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._warn(f"warning: track.{name}: {first}; training goes on, and what it misses is told later")
                self._warned.add(name)


class _Mlflow:
    """A run of MLflow."""

    def __init__(self, _root: Root, run_path: str, experiment: Experiment, known: str | None) -> None:
        for name, value in _IMPATIENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        chosen = experiment.track.mlflow or Mlflow()
        self._client = MlflowClient(chosen.uri)
        self.id = known or self._new(chosen.experiment or experiment.name, run_path, experiment)
        self._client.update_run(self.id, "RUNNING")

    def _new(self, name: str, run_path: str, experiment: Experiment) -> str:
        from mlflow.entities import Param

        there = self._client.get_experiment_by_name(name)
        place = there.experiment_id if there else self._client.create_experiment(name)
        found: str = self._client.create_run(place, run_name=Path(run_path).name).info.run_id
        rows = [Param(_plain(key), str(value)[:_LONGEST]) for key, value in monitor.settings(experiment).items()]
        for first in range(0, len(rows), _PARAMETERS):
            self._client.log_batch(found, params=rows[first : first + _PARAMETERS])
        return found

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        rows = [Metric(_plain(name), value, now, step) for name, value in values.items()]
        for first in range(0, len(rows), _METRICS):
            self._client.log_batch(self.id, metrics=rows[first : first + _METRICS])

    def flush(self) -> None:
        pass

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _plain(name: str) -> str:
    """Return a name of letters that MLflow takes; class names may have others."""
    return re.sub(r"[^\w ./:-]", "_", name)


class _Wandb:
    """A run of Weights & Biases; its files are kept with the run."""

    def __init__(self, root: Root, run_path: str, experiment: Experiment, known: str | None) -> None:
        import wandb

        chosen = experiment.track.wandb or Wandb()
        self._root, self._path = root, run_path
        self._folder = tempfile.TemporaryDirectory(prefix="thaw-wandb-", ignore_cleanup_errors=True)
        self._offline = chosen.mode == "offline"
        self._run: Any = wandb.init(
            project=chosen.project or experiment.name,
            entity=chosen.entity,
            mode=chosen.mode,
            id=known or Path(run_path).name[-64:],
            name=Path(run_path).name,
            resume="allow",
            config=dict(monitor.settings(experiment)),
            dir=self._folder.name,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, init_timeout=30),
        )
        self.id = str(self._run.id)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({"step": step, **values})

    def flush(self) -> None:
        """Bring what is for `wandb sync` to storage, for this process may be killed."""
        folder = Path(self._folder.name, "wandb")
        for file in folder.rglob("run-*.wandb") if self._offline else ():
            self._root.write_bytes(f"{self._path}/wandb/{file.parent.name}/{file.name}", file.read_bytes())

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
        self.flush()
        self._folder.cleanup()


_KINDS: Mapping[str, Callable[[Root, str, Experiment, str | None], Tracker]] = {"mlflow": _Mlflow, "wandb": _Wandb}
