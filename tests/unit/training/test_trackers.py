"""Trackers are told every epoch once, over restarts too; one that fails, or is not there, stops no training."""

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import pytest
from test_monitor import _epoch
from tiny_run import experiment

from thaw.config.experiment import Experiment, Mlflow, Track, Wandb
from thaw.errors import ConfigError
from thaw.storage import Root, open_root
from thaw.training import trackers

NEEDS = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"the extra {name} is not installed")
    for name in ("mlflow", "wandb")
}
RUN = "runs/tiny-1"
# their own libraries warn of their own
pytestmark = pytest.mark.filterwarnings("ignore")


def _tracked(**track: Any) -> Experiment:
    return experiment().model_copy(update={"track": Track(**track)})


def _told(root: Root, chosen: Experiment, spans: list[range], fails: bool = False) -> list[str]:
    """Tell trackers of epochs, with a restart between spans, and return the warnings."""
    warnings: list[str] = []
    for span in spans:
        found = trackers.begin(root, RUN, chosen, warnings.append)
        assert found is not None
        with found:
            for last in span:
                found.tell([_epoch(number) for number in range(1, last + 1)])
            if fails:
                raise KeyboardInterrupt
    return warnings


def test_without_a_tracker_nothing_is_begun(tmp_path: Path) -> None:
    assert trackers.begin(open_root(str(tmp_path)), RUN, experiment(), print) is None
    trackers.check(experiment().track)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_an_extra_that_is_missing_is_named_before_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=rf"track\.{name}: .*pip install 'thaw-vision\[{name}\]'"):
        trackers.check(_tracked(**{name: {}}).track)


def test_a_password_in_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD"):
        Mlflow(uri="https://me:secret@tracking")
    assert Mlflow(uri="https://tracking:5000/a@b").uri


def test_a_tracker_that_cannot_be_had_is_warned_of_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no route to host\nat all")

    monkeypatch.setattr(trackers, "_KINDS", {"mlflow": unreachable, "wandb": unreachable})
    warnings = _told(open_root(str(tmp_path)), _tracked(mlflow={}, wandb={}), [range(1, 4)])
    assert [line.split(";")[0] for line in warnings] == [
        "warning: track.mlflow: no route to host",
        "warning: track.wandb: no route to host",
    ]


class _Flaky:
    """Fails at the epochs it is told to fail at."""

    told: ClassVar[list[int]] = []
    down: ClassVar[set[int]] = set()

    def __init__(self, _root: Root, _path: str, _experiment: Experiment, known: str | None) -> None:
        self.id = known or "one"

    def log(self, values: Any, step: int) -> None:
        if step in self.down:
            self.down.remove(step)
            raise ConnectionError("gone")
        self.told.append(step)

    def flush(self) -> None:
        pass

    def close(self, failed: bool) -> None:
        pass


def test_an_epoch_that_was_missed_is_told_later_and_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "_KINDS", {"mlflow": _Flaky})
    monkeypatch.setattr(_Flaky, "told", [])
    monkeypatch.setattr(_Flaky, "down", {20, 50})
    # epoch 3 is done again after the restart; 2 and 5 fail once
    warnings = _told(open_root(str(tmp_path)), _tracked(mlflow={}), [range(1, 4), range(3, 7)])
    assert _Flaky.told == [10, 20, 30, 40, 50, 60]
    assert len(warnings) == 2


@pytest.mark.slow
@NEEDS["mlflow"]
def test_mlflow_has_settings_and_figures_of_a_run_that_was_resumed_as_one(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    chosen = _tracked(mlflow={"uri": uri, "experiment": "boards"})
    assert _told(open_root(str(tmp_path)), chosen, [range(1, 3), range(3, 5)]) == []
    client = MlflowClient(uri)
    there = client.get_experiment_by_name("boards")
    [found] = client.search_runs([there.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "tiny-1"
    assert found.data.params["finetune.phases.1.depth"] == "2"
    points = client.get_metric_history(found.info.run_id, "val/kind/accuracy")
    assert [(point.step, point.value) for point in points] == [(step, 0.875) for step in (10, 20, 30, 40)]


@pytest.mark.slow
@NEEDS["mlflow"]
def test_mlflow_calls_a_run_failed_that_was_broken_off(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(KeyboardInterrupt):
        _told(open_root(str(tmp_path)), _tracked(mlflow={"uri": uri}), [range(1, 2)], fails=True)
    client = MlflowClient(uri)
    [found] = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert found.info.status == "FAILED"


@pytest.mark.slow
@NEEDS["mlflow"]
def test_an_mlflow_server_that_does_not_answer_is_given_up_soon(tmp_path: Path) -> None:
    warnings = _told(open_root(str(tmp_path)), _tracked(mlflow={"uri": "http://127.0.0.1:9"}), [range(1, 2)])
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: track.mlflow: ")


@pytest.mark.slow
@NEEDS["wandb"]
def test_wandb_offline_leaves_what_can_be_synced_as_one_run(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    chosen = _tracked(wandb=Wandb(project="boards", mode="offline").model_dump())
    assert _told(root, chosen, [range(1, 3), range(3, 5)]) == []
    files = sorted((tmp_path / RUN / "wandb").rglob("*.wandb"))
    assert [file.name for file in files] == ["run-tiny-1.wandb"] * len(files)
    assert files
    assert all(file.stat().st_size > 0 for file in files)
    assert root.read_json(f"{RUN}/trackers/wandb.json") == {"id": "tiny-1", "epoch": 4}
