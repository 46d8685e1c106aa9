"""The images answered worst, and their pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from thaw import bundle
from thaw.config.experiment import Limits
from thaw.data.labels import Boxes, LabelSchema
from thaw.data.placement import Placement
from thaw.evaluation import figures, pictures, worst
from thaw.evaluation.evaluate import Answered
from thaw.tasks import classification
from thaw.tasks.detection import DetectionAnswer, FoundBox

SCHEMA = LabelSchema(kind="class", names=("a", "b"))


@pytest.fixture(scope="module")
def answered():
    """Four images of which the last three are wrong, the third most of all, after one without a label."""
    task = bundle.build_tasks({"kind": classification.Options(type="classification")}, {"kind": SCHEMA})["kind"]
    outputs = torch.tensor([[9.0, 0.0], [2.0, 0.0], [1.0, 0.0], [5.0, 0.0], [0.5, 0.0]])
    answers = [{"kind": one} for one in task.decode(outputs, [Placement.unchanged(8)] * 5)]
    given = Answered([f"{place}.png" for place in range(5)], answers, [{"kind": one} for one in (None, 0, 1, 1, 1)])
    return task, given


def test_wrong_answers_come_the_surest_first(answered):
    task, given = answered
    found = worst.worst(task, figures.labelled({"kind": task}, *given)["kind"], given)
    assert [one.id for one in found] == ["3.png", "2.png", "4.png"]
    assert found[0].note == "b; answered a 0.993"
    assert found[0].answer == given.answers[3]["kind"]


def test_no_more_than_a_page_shows_are_returned(answered, monkeypatch):
    task, given = answered
    monkeypatch.setattr(worst, "MOST", 2)
    assert len(worst.worst(task, figures.labelled({"kind": task}, *given)["kind"], given)) == 2


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((120, 400, 3), 90, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_boxes_are_drawn_in_pictures_of_answer_and_label(answered):
    _, given = answered
    labels = {"kind": SCHEMA, "things": LabelSchema(kind="boxes", names=("a", "b"))}
    box = FoundBox(box=(10.0, 10.0, 200.0, 100.0), label="a", score=0.9, sure=True)
    nothing = Boxes(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))
    asked = {"kind": [given.answers[0]["kind"]], "things": [DetectionAnswer(boxes=(box,))]}
    drawn = pictures.draw(_png(), {"kind": 0, "things": nothing}, asked, labels, Limits())
    assert len(drawn["kind"]) == 1
    answer, label = drawn["things"]
    assert (answer.width, answer.height) == (160, 48)
    assert len({Image.open(io.BytesIO(one.content)).convert("RGB").tobytes() for one in (answer, label)}) == 2
    assert Image.open(io.BytesIO(label.content)).convert("L").getextrema() == (90, 90)


def test_what_stands_below_pictures_says_which_is_which(answered):
    drawn = ["one", "two", "three"]
    assert [name for name, _ in pictures.beside("3.png", drawn, ["before", "after"])] == [
        "3.png: before",
        "after",
        "label",
    ]
    assert pictures.beside("3.png", [], ["answer"]) == [("3.png", None)]
