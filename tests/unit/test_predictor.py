"""An answer depends on its own image alone, whatever the size of the image and of the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thaw import bundle, predictor
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.data import rle
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import as_tensor
from thaw.tasks.classification import ClassificationAnswer
from thaw.tasks.detection import DetectionAnswer, FoundBox
from thaw.tasks.multilabel import MultilabelAnswer
from thaw.tasks.segmentation import SegmentationAnswer

LABELS = {
    "verdict": LabelSchema(kind="class", names=("bad", "fair", "good")),
    "tags": LabelSchema(kind="classes", names=("red", "blue")),
    "things": LabelSchema(kind="boxes", names=("cup", "pen")),
    "ground": LabelSchema(kind="mask", names=("grass", "road", "sky")),
}
TASKS = {
    "verdict": {"type": "classification"},
    "tags": {"type": "multilabel"},
    "things": {"type": "detection", "min_score": 0.0, "max_boxes": 20},
    "ground": {"type": "segmentation"},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["tf_efficientnet_lite0", "test_resnet", "test_vit"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    packed = request.param == "tf_efficientnet_lite0"
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 64}},
        "tasks": TASKS,
        "model": {"backbone": request.param, "weights": {"source": "package" if packed else "none"}},
    }
    torch.manual_seed(0)
    bundle.create(config.parse(values, "test"), LABELS).save(folder)
    return bundle.load(folder)


def _images() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    sizes = ((64, 64), (1, 1), (1, 300), (300, 2), (63, 65), (200, 130), (7, 7))
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _scores(answers: list[predictor.Answers]) -> NDArray[np.float64]:
    return np.array([[*one["verdict"].scores.values(), *one["tags"].scores.values()] for one in answers])


def test_answers_of_a_batch_equal_answers_one_by_one(loaded: Bundle) -> None:
    images = _images()
    together = predictor.answer(loaded, images)
    alone = [predictor.answer(loaded, [image])[0] for image in images]
    assert len(together) == len(images)
    assert np.abs(_scores(together) - _scores(alone)).max() <= 1e-6
    assert np.abs(_scores(together)[0] - _scores(together)[5]).max() > 1e-6  # the images do differ
    assert np.abs(_scores(predictor.answer(loaded, images[::-1]))[::-1] - _scores(together)).max() <= 1e-6


def test_boxes_and_masks_of_a_batch_equal_those_one_by_one_in_pixels_of_each_image(loaded: Bundle) -> None:
    images = _images()
    for image, together in zip(images, predictor.answer(loaded, images), strict=True):
        [alone] = predictor.answer(loaded, [image])
        height, width = image.shape[:2]
        assert together["ground"].size == (height, width)
        assert together["ground"].areas == pytest.approx(alone["ground"].areas, abs=0.01)
        seen = sum(mask_of(together, name).sum() for name in together["ground"].masks)
        assert seen == min(height, width) ** 2  # the rest is cropped
        assert sum(together["ground"].areas.values()) == pytest.approx(seen / (height * width))
        assert len(together["things"].boxes) == len(alone["things"].boxes) > 0
        for one, other in zip(together["things"].boxes, alone["things"].boxes, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-6)
        boxes = np.array([one.box for one in together["things"].boxes])
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()


def mask_of(answers: predictor.Answers, name: str) -> NDArray[np.bool_]:
    return rle.decode(answers["ground"].masks[name])


def test_no_images_get_no_answers(loaded: Bundle) -> None:
    assert predictor.answer(loaded, []) == []


def test_answers_are_the_model_on_preprocessed_pixels(loaded: Bundle) -> None:
    image = _images()[5]
    pixels = loaded.description.preprocess(as_tensor(image))[None]
    with torch.inference_mode():
        wanted = torch.softmax(loaded.model(pixels)["verdict"], dim=1)[0].tolist()
    [answers] = predictor.answer(loaded, [image])
    assert list(answers["verdict"].scores.values()) == pytest.approx(wanted, abs=1e-6)


def test_answering_changes_neither_model_nor_image(loaded: Bundle, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    images = _images()
    predictor.answer(loaded, images)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    assert all(np.array_equal(image, other) for image, other in zip(images, _images(), strict=True))


def test_json_answers_are_plain_values_that_make_the_same_answer_again(loaded: Bundle) -> None:
    [answers] = predictor.answer(loaded, _images()[:1])
    plain = predictor.as_json(answers)
    assert set(plain) == set(loaded.tasks)
    assert isinstance(plain["tags"]["labels"], list)
    for name, task in loaded.tasks.items():
        assert task.answer_type.model_validate(plain[name]) == answers[name]


def test_a_summary_names_what_was_found_the_most_telling_first() -> None:
    boxes = [("pen", 0.9), ("cup", 0.8), ("cup", 0.4), ("pen", 0.2)]
    found = tuple(FoundBox(box=(0, 0, 1, 1), label=label, score=score, sure=score >= 0.3) for label, score in boxes)
    areas = {"grass": 0.0, "road": 0.004, "sky": 0.126, "sea": 0.87}
    summaries = [
        ClassificationAnswer(label="good", score=0.75, scores={"bad": 0.25, "good": 0.75}).summary(),
        MultilabelAnswer(labels=("blue", "red"), scores={"blue": 0.6, "red": 0.875, "tall": 0.1}).summary(),
        DetectionAnswer(boxes=found).summary(),
        SegmentationAnswer(size=(1, 1), areas=areas, masks={}).summary(),
    ]
    assert [list(one.items()) for one in summaries] == [
        [("good", "0.750")],
        [("red", "0.875"), ("blue", "0.600")],
        [("cup", "x2"), ("pen", "x1")],
        [("sea", "87%"), ("sky", "13%"), ("road", "<1%")],
    ]
    assert not DetectionAnswer(boxes=()).summary()
