"""Scores are the metrics of the answers, and come back from storage as they were."""

from typing import Any

import numpy as np
import pytest
import torch

from thaw import bundle
from thaw.config.experiment import TaskOptions
from thaw.data.labels import LabelSchema
from thaw.data.placement import Placement
from thaw.evaluation import evaluate
from thaw.evaluation.evaluate import Confusion, Scores, Tally
from thaw.predictor import Answers, as_json
from thaw.tasks import classification, multilabel, segmentation
from thaw.tasks.contract import Task

ANNOTATIONS: list[dict[str, Any]] = [
    {"kind": 0, "tags": (0, 1)},
    {"kind": 1, "tags": ()},
    {"kind": None, "tags": (1,)},
    {"kind": 1, "tags": None},
    {"kind": 0, "tags": (0,)},
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _tasks() -> dict[str, Task]:
    options: dict[str, TaskOptions] = {
        "kind": classification.Options(type="classification"),
        "tags": multilabel.Options(type="multilabel"),
    }
    labels = {
        "kind": LabelSchema(kind="class", names=("a", "b", "c")),
        "tags": LabelSchema(kind="classes", names=("x", "y")),
    }
    return bundle.build_tasks(options, labels)


def _answers(tasks: dict[str, Task]) -> list[Answers]:
    random = torch.Generator().manual_seed(0)
    outputs = {name: torch.randn(5, len(task.labels.names), generator=random) for name, task in tasks.items()}
    decoded = {name: task.decode(outputs[name], [Placement.unchanged(8)] * 5) for name, task in tasks.items()}
    return [{name: answers[row] for name, answers in decoded.items()} for row in range(5)]


def test_a_tally_equals_the_meters_of_the_tasks() -> None:
    tasks = _tasks()
    answers, tally = _answers(tasks), Tally(tasks)
    tally.add(answers[:2], ANNOTATIONS[:2])
    tally.add(answers[2:], ANNOTATIONS[2:])
    assert tally.images == 5
    for name, task in tasks.items():
        meter = task.meter()
        meter.update([one[name] for one in answers], [one[name] for one in ANNOTATIONS])
        assert tally.metrics()[name] == meter.compute()
    table = tasks["kind"].meter()
    table.update([one["kind"] for one in answers], [0, 1, None, 1, 0])
    assert tally.confusions() == {
        "kind": Confusion(names=("a", "b", "c"), counts=tuple(map(tuple, table.confusion() or ())))
    }
    assert sum(map(sum, tally.confusions()["kind"].counts)) == 4


def test_confusion_of_masks_counts_pixels() -> None:
    labels = LabelSchema(kind="mask", names=("board", "copper"))
    tasks = bundle.build_tasks({"copper": segmentation.Options(type="segmentation")}, {"copper": labels})
    tally = Tally(tasks)
    [answer] = tasks["copper"].decode(torch.zeros(1, 2, 4, 4), [Placement.unchanged(8)])
    tally.add([{"copper": answer}], [{"copper": np.ones((8, 8), dtype=np.uint8)}])
    assert tally.confusions() == {
        "copper": Confusion(names=("board", "copper"), counts=((0, 0), (64, 0)), of="pixel"),
    }
    assert tally.confusions()["copper"].mistaken(3) == [("copper", "board", 64, 1.0)]


def test_a_task_without_labels_is_left_out() -> None:
    tasks = _tasks()
    tally = Tally(tasks)
    tally.add(_answers(tasks), [one | {"kind": None} for one in ANNOTATIONS])
    assert set(tally.metrics()) == {"tags"}
    assert tally.confusions() == {}


def test_no_images_come_to_no_scores() -> None:
    tally = Tally(_tasks())
    assert (tally.images, tally.metrics(), tally.confusions()) == (0, {}, {})


def test_stored_answers_are_the_answers_that_were_given() -> None:
    tasks = _tasks()
    for given in _answers(tasks):
        assert evaluate.as_answers(as_json(given), tasks) == given


def test_scores_survive_json() -> None:
    tasks = _tasks()
    tally = Tally(tasks)
    tally.add(_answers(tasks), ANNOTATIONS)
    scores = Scores(
        model="tiny/1",
        dataset="abc",
        split="test",
        images=tally.images,
        metrics=tally.metrics(),
        confusions=tally.confusions(),
        answers="runs/one/evaluation/test.parquet",
    )
    assert Scores.model_validate_json(scores.model_dump_json()) == scores
