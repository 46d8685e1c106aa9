"""Box metrics are what COCO's own evaluator says, and what plain counting says at one threshold."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from thaw.errors import DataError
from thaw.metrics import boxes
from thaw.metrics.boxes import BoxMeter, ImageBoxes

NAMES = ("ant", "bee", "cat", "dog")
SEEDS = range(6)
THRESHOLD = 0.5
Images = list[tuple[ImageBoxes, ImageBoxes]]


def _drawn(random: np.random.Generator, count: int, classes: int) -> ImageBoxes:
    """Return random boxes; scores are rounded, so that ties occur."""
    corner = random.uniform(0, 150, (count, 2))
    rows = np.concatenate([corner, corner + random.uniform(4, 90, (count, 2))], axis=1)
    return ImageBoxes(rows, random.integers(0, classes, count), random.random(count).round(2))


def _image(random: np.random.Generator, true: int, false: int) -> tuple[ImageBoxes, ImageBoxes]:
    """Return answers and truth: most true boxes are found, a little beside, some with the wrong class."""
    truth = _drawn(random, true, len(NAMES) - 1)
    seen = random.random(true) < 0.8
    labels = np.where(random.random(true) < 0.1, 3, truth.labels)[seen]
    near = (truth.boxes + random.normal(0, 4, truth.boxes.shape))[seen]
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    guess = _drawn(random, false, len(NAMES))
    scores = np.concatenate([random.random(int(seen.sum())).round(2), guess.scores * 0.8])
    answered = ImageBoxes(np.concatenate([near, guess.boxes]), np.concatenate([labels, guess.labels]), scores)
    return answered, ImageBoxes(truth.boxes, truth.labels, np.ones(true))


def _images(seed: int) -> Images:
    """Return images of all kinds: without truth, without answers, without both, and with very many answers."""
    random = np.random.default_rng(seed)
    sizes = [(5, 4), (0, 3), (4, 0), (0, 0), (8, 20), (30, 150), (1, 1), (12, 6)]
    made = [_image(random, *size) for size in sizes]
    made[2] = (_drawn(random, 0, 4), made[2][1])
    return made


def _meter(images: Images, most: int = 100) -> BoxMeter:
    meter = BoxMeter(NAMES, [THRESHOLD] * len(NAMES), most)
    for answered, truth in images:
        meter.add(answered, truth)
    return meter


def _rows(images: Images, side: int) -> list[dict[str, Any]]:
    return [
        {
            "id": 0,
            "image_id": place + 1,
            "category_id": int(label) + 1,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]),
            "iscrowd": 0,
            "score": score,
        }
        for place, image in enumerate(images)
        for box, label, score in zip(
            image[side].boxes.tolist(), image[side].labels, image[side].scores.tolist(), strict=True
        )
    ]


def _official(images: Images, most: int) -> dict[str, float]:
    """Return what pycocotools measures."""
    pytest.importorskip("pycocotools", reason="pycocotools is not installed; it is the reference")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": place + 1} for place in range(len(images))],
            "categories": [{"id": place + 1, "name": name} for place, name in enumerate(NAMES)],
            "annotations": [{**row, "id": number} for number, row in enumerate(_rows(images, 1), start=1)],
        }
        truth.createIndex()
        found = COCOeval(truth, truth.loadRes(_rows(images, 0)), "bbox")
        found.params.maxDets = [1, 10, most]
        found.evaluate()
        found.accumulate()
    precision, recall = found.eval["precision"][:, :, :, 0, 2], found.eval["recall"][:, :, 0, 2]
    by_class = {
        f"ap50_{name}": precision[0, :, place].mean()
        for place, name in enumerate(NAMES)
        if (precision[:, :, place] > -1).any()
    }
    return {
        "map": precision[precision > -1].mean(),
        "map50": precision[0][precision[0] > -1].mean(),
        "map75": precision[5][precision[5] > -1].mean(),
        "recall": recall[recall > -1].mean(),
        **by_class,
    }


@pytest.mark.parametrize("most", [10, 100])
@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_is_the_official_one(seed: int, most: int) -> None:
    images = _images(seed)
    measured = _meter(images, most).compute()
    official = _official(images, most)
    assert {name: measured[name] for name in official} == pytest.approx(official, abs=1e-6)
    assert {name for name in measured if name.startswith("ap50_")} == {"ap50_ant", "ap50_bee", "ap50_cat"}
    assert 0.1 < measured["map50"] < 0.9


@pytest.mark.parametrize("most", [3, 10])
def test_of_very_many_boxes_the_best_count(most: int) -> None:
    truth = ImageBoxes(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.ones(1))
    wrong = np.tile([[50.0, 50, 60, 60]], (most, 1))
    answered = ImageBoxes(
        np.concatenate([wrong, truth.boxes]), np.zeros(most + 1, dtype=np.int64), np.array([0.9] * most + [0.6])
    )
    assert _meter([(answered, truth)], most).compute()["map50"] == 0.0
    assert _meter([(answered, truth)], most).compute()["found"] == 0.0
    assert _meter([(answered, truth)], most + 1).compute()["map50"] == pytest.approx(1 / (most + 1), abs=1e-6)
    assert _meter([(answered, truth)], most + 1).compute()["found"] == 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_at_the_threshold_equal_plain_counting(seed: int) -> None:
    images = _images(seed)
    hits = answered = true = 0
    for found, truth in images:
        taken: set[int] = set()
        order = sorted(
            (place for place, score in enumerate(found.scores) if score >= 0.5), key=lambda p: -found.scores[p]
        )
        for place in order[:100]:
            overlaps = [
                (_iou(found.boxes[place], box), at)
                for at, (box, label) in enumerate(zip(truth.boxes, truth.labels, strict=True))
                if at not in taken and label == found.labels[place]
            ]
            if overlaps and max(overlaps)[0] >= 0.5:
                taken.add(max(overlaps)[1])
        hits, answered, true = hits + len(taken), answered + min(100, len(order)), true + len(truth.boxes)
    measured = _meter(images).compute()
    assert measured["precision"] == pytest.approx(hits / answered)
    assert measured["found"] == pytest.approx(hits / true)
    assert measured["false_per_image"] == pytest.approx((answered - hits) / len(images))


def _iou(one: Any, other: Any) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(width * height / (areas - width * height))


@pytest.mark.parametrize("seed", SEEDS)
def test_overlap_is_intersection_over_union(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = _drawn(random, 12, 1).boxes
    assert boxes.iou(rows[0], rows).tolist() == pytest.approx([_iou(rows[0], row) for row in rows])


def test_answers_that_equal_the_truth_are_perfect() -> None:
    images = [(truth, truth) for _, truth in _images(0)]
    measured = _meter(images).compute()
    assert {name for name, value in measured.items() if value == pytest.approx(1.0)} == set(measured) - {
        "false_per_image"
    }
    assert measured["false_per_image"] == 0.0


def test_without_an_answer_every_share_is_zero() -> None:
    nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    measured = _meter([(nothing, truth) for _, truth in _images(1)]).compute()
    assert set(measured.values()) == {0.0}
    assert "map50" in measured


def test_images_without_any_true_box_still_have_metrics() -> None:
    nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    one = ImageBoxes(np.array([[0.0, 0, 9, 9]]), np.zeros(1, dtype=np.int64), np.array([0.9]))
    measured = _meter([(nothing, nothing), (one, nothing)]).compute()
    assert measured["map50"] == 0.0
    assert measured["false_per_image"] == 0.5


def test_without_any_image_there_are_no_metrics() -> None:
    assert _meter([]).compute() == {}


def test_boxes_have_no_confusion_matrix() -> None:
    assert _meter(_images(0)).confusion() is None


def test_boxes_without_as_many_scores_are_refused() -> None:
    odd = ImageBoxes(np.zeros((2, 4)), np.zeros(2, dtype=np.int64), np.zeros(1))
    with pytest.raises(DataError, match="equally many"):
        BoxMeter(NAMES, [0.5] * len(NAMES), 10).add(odd, odd)
