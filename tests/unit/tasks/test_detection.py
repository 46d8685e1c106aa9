"""Detection answers the best boxes in pixels of the original image, and says so where it cannot be built."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thaw.data.labels import Boxes, LabelSchema
from thaw.data.placement import Placement, Rectangle
from thaw.errors import ConfigError
from thaw.tasks import detection
from thaw.tasks._anchors import Anchors
from thaw.tasks.contract import HeadInputs
from thaw.tasks.detection import DetectionAnswer, FoundBox, Options, Task

NAMES = ("ant", "bee", "cat")


def _task(**more: Any) -> Task:
    return Task("things", Options(type="detection", **more), LabelSchema(kind="boxes", names=NAMES))


def _outputs(*boxes: tuple[tuple[float, float, float, float], str, float]) -> dict[str, Tensor]:
    """Return what fcos would tell of one image with these boxes and scores."""
    classes = torch.full((1, len(boxes), len(NAMES)), -20.0)
    for place, (_, name, score) in enumerate(boxes):
        classes[0, place, NAMES.index(name)] = torch.tensor(score**2).logit()
    return {
        "classes": classes,
        "boxes": torch.tensor([box for box, _, _ in boxes], dtype=torch.float32).view(1, -1, 4),
        "centres": torch.full((1, len(boxes)), 30.0),
    }


def _answer(task: Task, placement: Placement, *boxes: Any) -> list[tuple[Any, str, float]]:
    [answer] = task.decode(_outputs(*boxes), [placement])
    return [(one.box, one.label, pytest.approx(one.score, abs=1e-4)) for one in answer.boxes]


WHOLE = Placement.unchanged(100)


def test_boxes_are_answered_best_first() -> None:
    boxes = [((0, 0, 10, 10), "bee", 0.3), ((20, 20, 30, 30), "ant", 0.9), ((50, 50, 60, 60), "cat", 0.6)]
    assert _answer(_task(), WHOLE, *boxes) == [boxes[1], boxes[2], boxes[0]]


def test_boxes_below_the_smallest_score_are_not_answered() -> None:
    boxes = [((0, 0, 10, 10), "bee", 0.29), ((20, 20, 30, 30), "bee", 0.31)]
    assert _answer(_task(min_score=0.3), WHOLE, *boxes) == [boxes[1]]


def test_of_overlapping_boxes_of_a_class_the_best_remains() -> None:
    boxes = [((0, 0, 10, 10), "bee", 0.9), ((0, 1, 10, 11), "bee", 0.8), ((0, 1, 10, 11), "ant", 0.7)]
    assert _answer(_task(), WHOLE, *boxes) == [boxes[0], boxes[2]]
    assert _answer(_task(nms=0.9), WHOLE, *boxes) == boxes


def test_an_answer_has_at_most_so_many_boxes() -> None:
    boxes = [((10 * place, 0, 10 * place + 5, 5), "ant", 0.9 - place / 20) for place in range(6)]
    assert _answer(_task(max_boxes=4), WHOLE, *boxes) == boxes[:4]


def test_boxes_are_given_in_pixels_of_the_image_and_cut_at_its_edges() -> None:
    wide = Placement(50, 200, 100, Rectangle(0, 0, 200, 50), Rectangle(0, 38, 100, 25))
    found = _answer(_task(), wide, ((-5, 30, 20, 48), "ant", 0.9), ((90, 50, 120, 99), "bee", 0.8))
    assert [box for box, _, _ in found] == [(0, 0, 40, 20), (180, 24, 200, 50)]


def test_boxes_wholly_outside_the_image_are_not_answered_and_suppress_nothing() -> None:
    wide = Placement(50, 200, 100, Rectangle(0, 0, 200, 50), Rectangle(0, 38, 100, 25))
    assert _answer(_task(), wide, ((0, 0, 50, 38), "ant", 0.9), ((-9, 40, -1, 50), "ant", 0.8)) == []
    kept = ((10, 40, 40, 60), "ant", 0.5)
    assert len(_answer(_task(max_boxes=1), wide, ((10, 0, 40, 37), "ant", 0.9), kept)) == 1


def test_an_image_without_anything_has_an_empty_answer() -> None:
    [answer] = _task().decode(
        {name: value[:, :0] for name, value in _outputs(((0, 0, 1, 1), "ant", 0.5)).items()}, [WHOLE]
    )
    assert answer == DetectionAnswer(boxes=())


@pytest.mark.parametrize("detector", ["fcos", "faster_rcnn"])
def test_anchors_of_another_number_than_the_maps_are_refused(detector: str) -> None:
    task = _task(detector=detector, anchors=Anchors(sizes=(10, 20)))
    with pytest.raises(
        ConfigError, match=r"tasks\.things\.anchors\.sizes: 2 sizes; .* looks at [34] maps here, .* 8, 16"
    ):
        task.build_head(HeadInputs(8, 0.0, 8, (4, 8, 16, 32)))


@pytest.mark.parametrize(("detector", "maps"), [("fcos", 3), ("faster_rcnn", 4)])
def test_derived_anchors_fit_the_maps_that_the_detector_looks_at(detector: Any, maps: int) -> None:
    options = Options(type="detection", detector=detector)
    corner = np.random.default_rng(0).uniform(0, 90, (60, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + np.linspace(9, 80, 60, dtype=np.float32)[:, None]], axis=1)
    chosen = options.with_anchors(boxes, (4, 8, 16, 32))
    assert chosen.anchors is not None
    assert len(chosen.anchors.sizes) == maps
    assert chosen.with_anchors(boxes[:20], (4, 8, 16, 32)) == chosen
    assert Options.model_validate_json(chosen.model_dump_json()) == chosen
    Task("things", chosen, LabelSchema(kind="boxes", names=NAMES)).build_head(HeadInputs(8, 0.0, 8, (4, 8, 16, 32)))


def test_each_detector_says_from_which_map_on_it_looks() -> None:
    assert _task(detector="fcos").finest == 8
    assert _task(detector="faster_rcnn").finest == 4


def test_answers_are_scored_against_the_boxes_of_labelled_images() -> None:
    truth = Boxes(np.array([[0, 0, 10, 10]], dtype=np.float32), np.array([1]))
    right = DetectionAnswer(boxes=(FoundBox(box=(0, 0, 10, 10), label="bee", score=0.9, sure=True),))
    wrong = DetectionAnswer(boxes=(FoundBox(box=(0, 0, 10, 10), label="cat", score=0.9, sure=True),))
    meter = _task().meter()
    meter.update([right, wrong], [truth, None])
    assert meter.compute()["map50"] == pytest.approx(1.0)
    meter.update(
        [wrong, DetectionAnswer(boxes=())], [truth, Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))]
    )
    assert meter.compute()["precision"] == 0.5
    assert meter.compute()["false_per_image"] == pytest.approx(1 / 3)


def test_the_threshold_is_that_of_the_options() -> None:
    truth = Boxes(np.array([[0, 0, 10, 10]], dtype=np.float32), np.array([1]))
    answer = DetectionAnswer(boxes=(FoundBox(box=(0, 0, 10, 10), label="bee", score=0.4, sure=True),))
    for threshold, found in ((0.3, 1.0), (0.5, 0.0)):
        meter = _task(score=threshold).meter()
        meter.update([answer], [truth])
        assert meter.compute()["found"] == found
        assert meter.compute()["map50"] == pytest.approx(1.0)


def test_only_the_best_candidates_come_before_suppression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "_CANDIDATES", 2)
    boxes = [((10 * place, 0, 10 * place + 5, 5), "ant", 0.9 - place / 20) for place in range(6)]
    assert _answer(_task(), WHOLE, *boxes) == boxes[:2]
