"""Anchors follow the boxes of the data where there are enough of them, and lie where the maps do."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from thaw.tasks import _anchors
from thaw.tasks._anchors import Anchors, derive_anchors

STRIDES = (8.0, 16.0, 32.0)
SEEDS = range(6)


def _boxes(sizes: NDArray[np.float64], ratios: NDArray[np.float64]) -> NDArray[np.float32]:
    sides = np.stack([sizes / np.sqrt(ratios), sizes * np.sqrt(ratios)], axis=1)
    corner = np.random.default_rng(0).uniform(0, 100, sides.shape)
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
def test_sizes_and_shapes_are_quantiles_of_those_of_the_boxes(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes, ratios = np.exp(random.uniform(np.log(16), np.log(256), 500)), np.exp(random.normal(0.3, 0.6, 500))
    found = derive_anchors(_boxes(sizes, ratios), STRIDES)
    assert found.sizes == pytest.approx(np.quantile(sizes, [1 / 6, 1 / 2, 5 / 6]).tolist(), abs=0.06)
    assert found.ratios == pytest.approx(np.quantile(ratios, [1 / 6, 1 / 2, 5 / 6]).tolist(), rel=2e-3)


@pytest.mark.parametrize("side", [2.0, 9.0, 30.0, 300.0, 2000.0])
@pytest.mark.parametrize("strides", [STRIDES, (4.0, 8.0, 16.0, 32.0), (7.0, 14.0, 28.0)])
def test_boxes_of_one_size_still_give_each_map_anchors_that_it_can_see(side: float, strides: tuple[float, ...]) -> None:
    found = derive_anchors(_boxes(np.full(50, side), np.ones(50)), strides)
    assert len(found.sizes) == len(strides)
    assert all(2 * stride <= size <= 16 * stride for size, stride in zip(found.sizes, strides, strict=True))
    assert all(large >= 1.2 * small for small, large in zip(found.sizes, found.sizes[1:], strict=False))
    assert found.ratios == pytest.approx((1 / 1.4, 1, 1.4), abs=1e-3)


@pytest.mark.parametrize("count", [0, 1, _anchors.FEWEST - 1])
def test_few_boxes_give_the_usual_anchors(count: int) -> None:
    assert derive_anchors(_boxes(np.full(count, 9.0), np.ones(count)), STRIDES) == _anchors.usual(STRIDES)
    assert _anchors.usual(STRIDES).sizes == (64, 128, 256)


def test_boxes_without_an_area_are_passed_over() -> None:
    boxes = _boxes(np.full(40, 20.0), np.ones(40))
    flat = boxes.copy()
    flat[:, 3] = flat[:, 1]
    assert derive_anchors(np.concatenate([boxes, flat]), STRIDES) == derive_anchors(boxes, STRIDES)
    assert derive_anchors(flat, STRIDES) == _anchors.usual(STRIDES)


def test_sizes_that_do_not_grow_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"sizes \[30.0, 20.0\] must grow from map to map"):
        Anchors(sizes=(30, 20))


def test_anchors_survive_json() -> None:
    found = derive_anchors(_boxes(np.linspace(10, 90, 60), np.ones(60)), STRIDES)
    assert Anchors.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(("places", "wanted"), [(8, 0.0), (9, 0.0), (7, 4.0)])
def test_a_map_that_does_not_reach_over_the_input_lies_in_its_middle(places: int, wanted: float) -> None:
    assert _anchors.margin(places, 8.0, 64) == wanted
    assert _anchors.centres((places, places), 8.0, 64, 0.5)[0].tolist() == [4 + wanted] * 2
