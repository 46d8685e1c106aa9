"""The page of a run tells how it went, and shows text as text."""

import pytest

from reading import Reader
from thaw.config import load
from thaw.data.dataset import Dataset, Report
from thaw.evaluation.calibration import Reliability
from thaw.evaluation.settled import Settled
from thaw.metrics.calibration import Bin
from thaw.tasks.contract import Answering
from thaw.training import run
from thaw.training.plan import FinetunePlan
from thaw.training.report import charts
from thaw.training.report.page import Told, page
from thaw.training.state import Epoch

HOSTILE = "<script>alert(1)</script>"
GROUPS = ("stem", "blocks.0", "blocks.1")


def epoch(number: int, phase: int, accuracy: float) -> Epoch:
    return Epoch(
        epoch=number,
        phase=phase,
        depth=2 * phase,
        step=10 * number,
        train_loss={"kind": 1 / number},
        val_loss={"kind": 1.5 / number},
        metrics={"kind": {"accuracy": accuracy}},
        score=accuracy,
        seconds=60.0,
        images_per_s=10.0,
        waiting=0.25,
    )


HISTORY = [epoch(1, 0, 0.5), epoch(2, 1, 0.9), epoch(3, 1, 0.8)]


@pytest.fixture(scope="module")
def told():
    phases = [{"epochs": 1, "depth": 0}, {"epochs": 4, "depth": 2, "rates": {"head": 1e-3, "backbone": 2e-4}}]
    values = {
        "name": "crops",
        "data": {"source": {"type": "boards"}},
        "tasks": {"kind": {"type": "classification"}},
        "finetune": {"phases": phases},
    }
    experiment = load.parse(values, "test")
    counts = {"train": {"kind": {HOSTILE: 7, "b": 2}}, "val": {"kind": {HOSTILE: 3}}}
    report = Report(
        listed=12, rejected={}, classes=counts, labelled={"train": {"kind": 9}, "val": {"kind": 3}}, warnings=()
    )
    one = Reliability(error=0.25, bins=(Bin(0.5, 0.6, 4, 0.55, 0.8),))
    settled = Settled(images=3, answering=Answering(temperature=1.5), before=one, after=one, kept=())
    return Told(
        experiment=experiment,
        history=HISTORY,
        plan=FinetunePlan.of(experiment, GROUPS, 10),
        best_metrics={"kind": "accuracy"},
        best_epoch=2,
        settled={"kind": settled},
        data=report,
    )


@pytest.fixture(scope="module")
def read(told):
    prepared = Dataset(name="crops", fingerprint="f" * 12, labels={}, splits={}, report=told.data)
    record = run.begin(told.experiment, prepared).model_copy(
        update={
            "wall_s": 190.0,
            "bundle": "models/crops/3",
            "weights": {"source": "hub"},
            "environment": {"device": HOSTILE},
            "diagnosis": {"kind": {"kind": "overfitting", "since_epoch": 2, "evidence": "x", "action": "more data"}},
        }
    )
    return Reader(page(record, told))


def test_tags_close_text_stays_text_and_nothing_is_asked_for(read):
    assert read.open == []
    assert read.tags.count("script") == 1
    assert HOSTILE in read.text
    assert all(one.startswith(("data:", "#")) for one in read.asked)


def test_the_best_epoch_and_its_figures_are_told(read):
    said = "3 epochs in 3 min 10 s; the best, epoch 2, came to kind accuracy 0.900 on validation images."
    assert f"{said} Registered as models/crops/3." in read.text


def test_phases_have_what_was_planned_and_what_became_of_it(read):
    assert ["1", "1 of 1", "0", "0.003", "-", "-", "1 min", "25%"] in read.rows
    assert read.rows[[row[:1] for row in read.rows].index(["2"])][:5] == ["2", "2 of 4", "2", "0.001", "0.0002"]


def test_diagnosis_settings_and_data_are_there(read):
    assert "kind: overfitting since epoch 2: x." in read.text
    assert "temperature of 1.50" in read.text
    assert [HOSTILE, "7", "3"] in read.rows
    assert ["b", "2", "0"] in read.rows
    assert "backbone: 0.0002" in read.text


def test_rates_are_drawn_for_the_groups_that_learnt_alone(told):
    svg = charts.rates(told.plan, HISTORY).svg
    assert "heads" in svg
    assert "blocks.0" in svg
    assert "stem" not in svg
    assert "mathdefault" not in svg


def test_a_metric_that_was_never_measured_has_no_chart():
    assert charts.metric("kind", "auroc", HISTORY) is None
    assert "epoch 2: 0.900" in charts.metric("kind", "accuracy", HISTORY).caption
