"""What `thaw init` writes prepares, trains and can be looked at as it is."""

import os
import sys
from pathlib import Path

import pytest

from thaw.config import load
from thaw.data import on_ray as data
from thaw.starting import start
from thaw.training import on_ray as training

sys.path.append(str(Path(__file__).parents[1] / "unit" / "starting"))
import layouts

TINY = [
    "model.backbone=test_efficientnet",
    "model.weights.source=none",
    "data.image.size=64",
    "train.cpus_per_worker=0.5",
]


@pytest.mark.slow
def test_an_experiment_of_three_tasks_that_nobody_changed_trains(tmp_path):
    started = start.start(str(layouts.write(tmp_path / "parts", layouts.SETS["table"])))
    start.write(started, tmp_path / "parts.yaml")
    one_epoch = ["finetune.phases=[{epochs: 1, depth: 1}]", f"storage.root={tmp_path}", "track.train_images=0"]
    record = training.train(load.load(tmp_path / "parts.yaml", [*TINY, *one_epoch]))
    assert set(record.metrics["val"]) == {"kind", "parts", "mask"}
    assert record.bundle


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "set_aside"), [("steel", {}), ("pets", {}), ("blood", {"box_degenerate": 2}), ("grocery", {})]
)
def test_real_sets_are_prepared_as_they_were_recognised(name, set_aside, tmp_path, monkeypatch):
    root = os.environ.get("THAW_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"THAW_DATA names no folder with the data set {name}")
    start.write(start.start(str(Path(root) / name)), tmp_path / "e.yaml")
    prepared = data.prepare(load.load(tmp_path / "e.yaml", [f"storage.root={tmp_path}"]))
    assert prepared.report.rejected == {}
    assert prepared.report.set_aside == set_aside
