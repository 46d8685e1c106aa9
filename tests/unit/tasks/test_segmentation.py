"""Segmentation's loss is plain arithmetic over labelled pixels, and its answers are masks of the image's own size."""

from typing import Any

import numpy as np
import pytest
import torch

from thaw.data import rle
from thaw.data.labels import LabelSchema
from thaw.data.placement import Placement, Rectangle
from thaw.errors import ConfigError
from thaw.metrics.masks import IGNORED
from thaw.tasks.segmentation import Options, Task

NAMES = ("board", "copper", "hole")
SEEDS = range(6)


def _task(names: tuple[str, ...] = NAMES, **more: Any) -> Task:
    return Task("pixels", Options(type="segmentation", **more), LabelSchema(kind="mask", names=names))


@pytest.mark.parametrize("dice", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_is_what_plain_arithmetic_says(seed: int, dice: float) -> None:
    random = np.random.default_rng(seed)
    outputs = random.normal(size=(3, 3, 5, 5)) * 2
    targets = random.choice([0, 1, 2, IGNORED], size=(3, 5, 5), p=[0.5, 0.2, 0.1, 0.2]).astype(np.uint8)
    targets[1][targets[1] == 2] = 0
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    total = 0.0
    for share, target in zip(shares, targets, strict=True):
        kept = target != IGNORED
        entropy = -np.log(np.take_along_axis(share, np.where(kept, target, 0)[None], axis=0)[0])[kept].mean()
        scores = [
            (2 * share[one][kept & (target == one)].sum() + 1) / (share[one][kept].sum() + (target == one).sum() + 1)
            for one in np.unique(target[kept])
        ]
        total += (1 - dice) * entropy + dice * (1 - np.mean(scores))
    found, count = _task(dice=dice).loss(torch.tensor(outputs, dtype=torch.float32), torch.from_numpy(targets))
    assert float(found) == pytest.approx(total, rel=1e-5)
    assert int(count) == 3


def test_every_pixel_of_the_image_gets_the_likeliest_class_at_the_images_own_size() -> None:
    best = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 1, 1]]])
    outputs = torch.nn.functional.one_hot(best, 3).movedim(-1, 1).float()
    twice = Placement(8, 8, 4, Rectangle(0, 0, 8, 8), Rectangle(0, 0, 4, 4))
    [answer] = _task().decode(outputs, [twice])
    assert answer.size == (8, 8)
    assert answer.areas == {"board": 0.25, "copper": 0.5, "hole": 0.25}
    wanted = best[0].repeat_interleave(2, 0).repeat_interleave(2, 1).numpy()
    for place, name in enumerate(NAMES):
        assert np.array_equal(rle.decode(answer.masks[name]), wanted == place)
    assert np.array_equal(answer.as_mask(NAMES), wanted)


def test_what_the_model_did_not_see_has_no_class() -> None:
    wide = Placement(4, 8, 4, Rectangle(2, 0, 4, 4), Rectangle(0, 0, 4, 4))
    [answer] = _task().decode(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 4, 4), [wide])
    assert answer.areas == {"board": 0.5, "copper": 0.0, "hole": 0.0}
    assert set(answer.masks) == {"board"}
    mask = answer.as_mask(NAMES)
    assert (mask[:, 2:6] == 0).all()
    assert (mask[:, :2] == IGNORED).all()


def test_more_classes_than_a_mask_can_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.pixels: 256 classes; a mask tells at most 255 apart"):
        _task(tuple(f"{place:03}" for place in range(256)))
    assert _task(tuple(f"{place:03}" for place in range(255)))


@pytest.mark.parametrize(
    ("names", "options", "wanted"),
    [
        (("rust", "background"), {}, "background"),
        (("BG", "rust"), {}, "BG"),
        (("_background_", "rust"), {}, "_background_"),
        (("back", "rust"), {}, None),
        (("back", "background"), {"background": "back"}, "back"),
    ],
)
def test_the_background_is_the_class_that_is_called_so_or_said(
    names: tuple[str, ...], options: dict[str, str], wanted: str | None
) -> None:
    assert _task(names, **options).background == wanted


def test_a_background_that_is_no_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.pixels\.background: no class 'coper'; .* did you mean 'copper'"):
        _task(background="coper")
