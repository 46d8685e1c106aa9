"""A card says what was measured, and what nobody but its makers can say."""

import numpy as np
import pytest
import yaml

from thaw import bundle
from thaw.config import load
from thaw.data.dataset import Dataset, Report
from thaw.data.labels import LabelSchema
from thaw.evaluation import card, figures
from thaw.evaluation.evaluate import Scores
from thaw.evaluation.figures import Labelled
from thaw.metrics.weighted.classes import ClassSample
from thaw.training import run


@pytest.fixture(scope="module")
def described():
    values = {
        "name": "crops",
        "data": {"source": {"type": "boards"}, "image": {"size": 64}},
        "tasks": {"kind": {"type": "classification"}},
        "model": {"backbone": "test_efficientnet", "weights": {"source": "none"}},
    }
    experiment = load.parse(values, "test")
    return experiment, bundle.create(experiment, {"kind": LabelSchema(kind="class", names=("oat", "rye: |"))})


@pytest.fixture(scope="module")
def record(described):
    experiment, _ = described
    report = Report(listed=2, rejected={}, classes={}, labelled={}, warnings=())
    prepared = Dataset(name="crops", fingerprint="f" * 12, labels={}, splits={}, report=report)
    begun = run.begin(experiment, prepared)
    action = {"kind": "overfitting", "since_epoch": 3, "evidence": "0.99 on training images", "action": "more data"}
    return begun.model_copy(update={"diagnosis": {"kind": action}, "epochs_run": 12, "wall_s": 120.0})


@pytest.fixture(scope="module")
def scores(described):
    _, made = described
    targets = np.arange(40) % 2
    told = np.where(targets[:, None] == np.arange(2), 0.8, 0.2)
    told[:4] = told[:4, ::-1]
    sample = ClassSample(("oat", "rye: |"), told, targets, told.argmax(axis=1), targets < 0)
    seen = {"kind": Labelled(tuple(map(str, range(40))), sample)}
    found = figures.figures(made.tasks, seen, 0)
    place = "runs/x/evaluation/test.parquet"
    return Scores(
        model="crops/1",
        dataset="f",
        split="test",
        images=40,
        metrics={},
        confusions={},
        figures=found,
        looks=3,
        answers=place,
    )


def test_the_front_matter_is_what_the_hub_reads(described, record, scores):
    text = card.card("crops/1", described[1].description, record, {"test": scores})
    _, front, _ = text.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["pipeline_tag"] == "image-classification"
    assert values["base_model"] == "test_efficientnet"
    [result] = values["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    assert {"type": "accuracy", "value": 0.9, "name": "accuracy"} in result["metrics"]


def test_the_body_tells_figures_with_intervals_and_looks(described, record, scores):
    text = card.card("crops/1", described[1].description, record, {"test": scores})
    assert "| accuracy | 0.900 | " in text
    assert "look 3 at them" in text
    assert "2 classes: oat, rye: |" in text
    assert "kind: overfitting when training ended; 0.99 on training images" in text
    assert "Not measured on test images" not in text


def test_a_model_that_was_not_measured_says_so(described, record):
    text = card.card("crops/1", described[1].description, record, {})
    assert "Not measured on test images yet" in text
    assert yaml.safe_load(text.split("---\n", 2)[1])["model-index"] == []
