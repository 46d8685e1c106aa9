"""Figures as a whole and by class."""

import numpy as np
import pytest
import torch

from thaw import bundle
from thaw.data.labels import LabelSchema
from thaw.data.placement import Placement
from thaw.evaluation import figures
from thaw.tasks import classification

IDS = tuple(f"{place}.png" for place in range(40))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tasks():
    labels = {"kind": LabelSchema(kind="class", names=("a", "b"))}
    return bundle.build_tasks({"kind": classification.Options(type="classification")}, labels)


@pytest.fixture(scope="module")
def given(tasks):
    """Answers right on the first 30 of 40 images, of which every tenth has no label."""
    truths = [place % 2 for place in range(40)]
    outputs = torch.tensor([[3.0, 0.0] if (truth == 0) == (at < 30) else [0.0, 3.0] for at, truth in enumerate(truths)])
    answers = [{"kind": one} for one in tasks["kind"].decode(outputs, [Placement.unchanged(8)] * 40)]
    annotations = [{"kind": None if at % 10 == 9 else truth} for at, truth in enumerate(truths)]
    return figures.labelled(tasks, IDS, answers, annotations)


def test_images_without_a_label_count_for_nothing(tasks, given):
    one = given["kind"]
    assert len(one.ids) == 36
    assert "9.png" not in one.ids
    found = figures.figures(tasks, given, seed=0)["kind"]
    assert found.images == 36
    assert found.metrics["accuracy"].value == pytest.approx(27 / 36)
    assert found.metrics["accuracy"].low < 27 / 36 < found.metrics["accuracy"].high


def test_a_task_without_a_label_is_left_out(tasks):
    [answer] = tasks["kind"].decode(torch.zeros(1, 2), [Placement.unchanged(8)])
    assert figures.labelled(tasks, ["one"], [{"kind": answer}], [{"kind": None}]) == {}


def test_classes_have_figures_of_their_own(tasks, given):
    found = figures.figures(tasks, given, seed=0)["kind"].classes
    right = [at for at in range(40) if at % 10 != 9 and at < 30]
    assert found["a"]["recall"].value == pytest.approx(sum(at % 2 == 0 for at in right) / 20)
    assert found["b"]["recall"].value == pytest.approx(sum(at % 2 for at in right) / 16)


def test_figures_of_a_slice_are_those_of_its_images_alone(tasks, given):
    one = given["kind"]
    values = {image: "first" if place < 10 else "rest" for place, image in enumerate(one.ids)}
    found = figures.figures(tasks, given, 0, {"part": values})["kind"].slices["part"]
    alone = figures.Labelled(one.ids[:10], one.sample.at(np.arange(10)))
    assert found["first"].metrics == figures.figures(tasks, {"kind": alone}, 0)["kind"].metrics
    assert (found["first"].images, found["rest"].images) == (10, 26)
    told = figures.lines(figures.figures(tasks, given, 0, {"part": values}))
    assert "    by part, accuracy:" in told


def test_lines_show_figure_and_interval(tasks, given):
    told = figures.lines(figures.figures(tasks, given, 0))
    assert told[0] == "  kind: 36 images, with 95 % intervals"
    assert any("accuracy" in line and "0.750" in line and " to " in line for line in told)


def test_figures_survive_json(tasks, given):
    found = figures.figures(tasks, given, 0)["kind"]
    assert figures.Figures.model_validate_json(found.model_dump_json()) == found
    assert np.isfinite([value.high for value in found.metrics.values()]).all()
