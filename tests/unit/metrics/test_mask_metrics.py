"""Mask metrics are what torchmetrics and ten lines of numpy say, whatever pixels are left out."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from thaw.metrics.masks import IGNORED, MaskMeter

NAMES = ("board", "copper", "hole", "rare")
SEEDS = range(6)
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _pairs(seed: int, ignored: float = 0.2, unseen: float = 0.0) -> list[Pair]:
    """Return answered and true masks of five images of different sizes; the class rare occurs in some seeds alone."""
    random = np.random.default_rng(seed)
    found = []
    for height, width in ((3, 9), (20, 14), (1, 1), (8, 8), (17, 30)):
        truth = random.integers(0, 3 + seed % 2, (height, width)).astype(np.uint8)
        answered = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 3, truth.shape)).astype(
            np.uint8
        )
        truth[random.random(truth.shape) < ignored] = IGNORED
        answered[random.random(truth.shape) < unseen] = IGNORED
        found.append((answered, truth))
    return found


def _meter(pairs: list[Pair]) -> MaskMeter:
    meter = MaskMeter(NAMES)
    for answered, truth in pairs:
        meter.add(answered, truth)
    return meter


def _flat(pairs: list[Pair]) -> Pair:
    answered, truth = (np.concatenate([pair[side].reshape(-1) for pair in pairs]) for side in (0, 1))
    return answered[truth != IGNORED], truth[truth != IGNORED]


@pytest.mark.parametrize("unseen", [0.0, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_mask_metrics_equal_plain_arithmetic(seed: int, unseen: float) -> None:
    pairs = _pairs(seed, unseen=unseen)
    answered, truth = _flat(pairs)
    ious, dices = {}, []
    for place, name in enumerate(NAMES):
        both, said, true = (
            ((answered == place) & (truth == place)).sum(),
            (answered == place).sum(),
            (truth == place).sum(),
        )
        if said + true:
            ious[f"iou_{name}"] = both / (said + true - both)
            dices.append(2 * both / (said + true))
    wanted = {
        "miou": np.mean(list(ious.values())),
        "dice": np.mean(dices),
        "pixel_accuracy": (answered == truth).mean(),
    }
    assert _meter(pairs).compute() == pytest.approx({**wanted, **ious}, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mean_overlap_is_that_of_torchmetrics(seed: int) -> None:
    pairs = _pairs(seed)
    answered, truth = (torch.from_numpy(one).long() for one in _flat(pairs))
    wanted = multiclass_jaccard_index(answered, truth, num_classes=len(NAMES), average="macro")
    assert _meter(pairs).compute()["miou"] == pytest.approx(float(wanted), abs=1e-6)
    assert _meter(pairs).confusion() == multiclass_confusion_matrix(answered, truth, len(NAMES)).tolist()


def test_pixels_without_a_label_change_nothing_whatever_is_answered() -> None:
    truth = np.array([[0, 1, IGNORED, IGNORED]], dtype=np.uint8)
    found = [
        _meter([(np.array([[0, 0, one, two]], dtype=np.uint8), truth)]).compute() for one, two in ((0, 1), (2, 255))
    ]
    assert found[0] == found[1]
    assert found[0]["pixel_accuracy"] == 0.5


def test_a_pixel_without_an_answer_is_missed() -> None:
    truth = np.zeros((1, 4), dtype=np.uint8)
    answered = np.array([[0, 0, IGNORED, IGNORED]], dtype=np.uint8)
    measured = _meter([(answered, truth)]).compute()
    assert measured["pixel_accuracy"] == 0.5
    assert measured["iou_board"] == 0.5


def test_images_at_once_or_one_by_one_come_to_the_same() -> None:
    pairs = _pairs(3)
    whole = (_flat(pairs)[0].reshape(1, -1), _flat(pairs)[1].reshape(1, -1))
    assert _meter(pairs).compute() == _meter([whole]).compute()


def test_as_many_classes_as_a_mask_can_tell_apart_are_told_apart() -> None:
    names = tuple(str(place) for place in range(255))
    meter = MaskMeter(names)
    pixels = np.arange(255, dtype=np.uint8).reshape(1, -1)
    meter.add(pixels, pixels)
    assert meter.compute()["miou"] == 1.0
    meter.add(np.full_like(pixels, IGNORED), pixels)
    assert meter.compute()["pixel_accuracy"] == 0.5


@pytest.mark.parametrize("images", [0, 1])
def test_without_a_labelled_pixel_there_are_no_metrics(images: int) -> None:
    empty = np.full((4, 4), IGNORED, dtype=np.uint8)
    assert _meter([(empty, empty)] * images).compute() == {}
