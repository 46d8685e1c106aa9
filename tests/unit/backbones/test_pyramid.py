"""A pyramid has one width and the strides that are wanted, whatever maps it is made of."""

import math

import pytest
import torch

from thaw.backbones import pyramid
from thaw.backbones.contract import MapFacts
from thaw.backbones.pyramid import Pyramid

MANY = tuple(MapFacts(channels, stride) for channels, stride in ((8, 4), (12, 8), (20, 16), (24, 32)))


def _made(facts: tuple[MapFacts, ...], finest: int, size: int) -> list[tuple[int, ...]]:
    torch.manual_seed(0)
    maps = [torch.randn(2, one.channels, *[math.ceil(size / one.stride)] * 2) for one in facts]
    return [tuple(one.shape) for one in Pyramid(facts, 16, finest)(maps)]


@pytest.mark.parametrize(("finest", "strides"), [(4, (4, 8, 16, 32)), (8, (8, 16, 32)), (16, (16, 32))])
def test_maps_finer_than_any_head_looks_at_are_left_out(finest: int, strides: tuple[int, ...]) -> None:
    assert pyramid.strides(MANY, finest) == Pyramid(MANY, 16, finest).strides == strides
    assert _made(MANY, finest, 64) == [(2, 16, 64 // stride, 64 // stride) for stride in strides]


@pytest.mark.parametrize("size", [61, 75, 100, 33])
def test_sizes_that_no_stride_divides_are_fine(size: int) -> None:
    assert _made(MANY, 4, size) == [(2, 16, *[math.ceil(size / one.stride)] * 2) for one in MANY]


@pytest.mark.parametrize(
    ("patch", "finest", "strides"),
    [
        (8, 4, (4, 8, 16, 32)),
        (14, 4, (3.5, 7, 14, 28)),
        (14, 8, (7, 14, 28)),
        (16, 4, (4, 8, 16, 32)),
        (16, 8, (8, 16, 32)),
        (32, 4, (4, 8, 16, 32)),
        (32, 8, (8, 16, 32)),
    ],
)
@pytest.mark.parametrize("channels", [16, 192])
def test_one_map_becomes_maps_of_growing_strides(
    patch: int, finest: int, strides: tuple[float, ...], channels: int
) -> None:
    facts = (MapFacts(channels, patch),)
    assert pyramid.strides(facts, finest) == Pyramid(facts, 16, finest).strides == strides
    assert _made(facts, finest, patch * 4) == [(2, 16, *[round(patch * 4 / one)] * 2) for one in strides]


@pytest.mark.parametrize("places", [1, 3, 7])
def test_one_map_with_an_odd_number_of_places_is_halved_upwards(places: int) -> None:
    facts = (MapFacts(48, 16),)
    wanted = [places * 4, places * 2, places, math.ceil(places / 2)]
    assert [one[-1] for one in _made(facts, 4, places * 16)] == wanted


@pytest.mark.parametrize("facts", [MANY, (MapFacts(48, 16),)])
def test_every_weight_learns(facts: tuple[MapFacts, ...]) -> None:
    made = Pyramid(facts, 16, 4)
    maps = [torch.randn(1, one.channels, *[64 // one.stride] * 2) for one in facts]
    sum(one.square().sum() for one in made(maps)).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in made.parameters())


def test_finer_maps_of_one_map_keep_everything_where_it_was() -> None:
    torch.manual_seed(0)
    plain = torch.zeros(1, 48, 8, 8)
    marked = plain.clone()
    marked[0, :, 1, 6] = 1.0
    for finest, side in ((4, 4), (8, 2)):
        made = Pyramid((MapFacts(48, 16),), 16, finest)
        assert made.resample is not None
        change = (made.resample(plain)[0] - made.resample(marked)[0]).abs().sum(dim=(0, 1))
        row, column = divmod(int(change.argmax()), change.shape[1])
        assert (row // side, column // side) == (1, 6)
