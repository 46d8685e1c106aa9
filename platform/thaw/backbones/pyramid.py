"""Pyramid: maps of one width at growing strides, made of whatever maps a backbone has.

It is shared by all heads that look at places in an image, and learns with the heads.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from thaw.backbones.contract import MapFacts

FINEST = 4
"""Finest stride of a pyramid, in pixels of the input: finer maps cost much and tell heads little."""
_COARSEST = 48
"""Strides from here on are not made of a single map: their places are too few."""
_SLACK = 1.2
"""A stride counts as so many times as large: patches of 14 pixels make strides of 3.5, 7, 14 and 28."""


class Pyramid(nn.Module):
    """(B, C, H_i, W_i) maps, finest first, at growing strides of about 4, 8, 16 and 32 pixels.

    Attributes:
        strides: pixels of the input per place of each map.
    """

    def __init__(self, maps: Sequence[MapFacts], channels: int, finest: int) -> None:
        """Build for a backbone's maps, leaving out those finer than any head looks at.

        A single map, which is what a plain transformer has, is resampled first.

        Args:
            maps: what the backbone gives, finest first.
            channels: C.
            finest: smallest stride wanted, in pixels.

        Source: Lin et al. 2017, arXiv:1612.03144; for plain transformers Li et al. 2022, arXiv:2203.16527.
        """
        super().__init__()
        self.strides = strides(maps, finest)
        self.resample = _Resample(maps[0], finest) if len(maps) == 1 else None
        widths = self.resample.widths if self.resample else [one.channels for one in maps[-len(self.strides) :]]
        self.fpn = FeaturePyramidNetwork(widths, channels)

    @property
    def num_maps(self) -> int:
        """How many of the backbone's maps it is made of, counted from the coarsest."""
        return 1 if self.resample else len(self.strides)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the pyramid of a backbone's maps."""
        wanted = self.resample(maps[0]) if self.resample else maps[-len(self.strides) :]
        pyramid: dict[str, Tensor] = self.fpn({str(place): one for place, one in enumerate(wanted)})
        return list(pyramid.values())


def strides(maps: Sequence[MapFacts], finest: int) -> tuple[float, ...]:
    """Return the strides that a pyramid of a backbone's maps has, in pixels, finest first."""
    if len(maps) == 1:
        return tuple(maps[0].stride / 2**power for power in _powers(maps[0].stride, finest))
    return from_finest([one.stride for one in maps], finest)


def from_finest(given: Sequence[float], finest: int) -> tuple[float, ...]:
    """Return the strides that are not finer than the finest one wanted."""
    return tuple(stride for stride in given if stride * _SLACK >= finest)


def _powers(stride: int, finest: int) -> list[int]:
    """Return how often a map's sides are doubled, or halved where negative, for each map of the pyramid."""
    return [power for power in range(5, -6, -1) if finest <= stride / 2**power * _SLACK < _COARSEST]


class _Resample(nn.Module):
    """Maps of growing strides from the one of a plain transformer, each with twice the places of the next."""

    def __init__(self, given: MapFacts, finest: int) -> None:
        super().__init__()
        powers = _powers(given.stride, finest)
        self.steps = nn.ModuleList(_resampled(given.channels, power) for power in powers)
        self.widths = [_width(given.channels, max(0, power)) for power in powers]

    def forward(self, given: Tensor) -> list[Tensor]:
        return [step(given) for step in self.steps]


def _resampled(channels: int, power: int) -> nn.Module:
    """Return a layer that makes a map's sides 2 ** ``power`` times as long."""
    if power > 0:
        return _finer(channels, power)
    return nn.MaxPool2d(2**-power, ceil_mode=True) if power else nn.Identity()


def _width(channels: int, doublings: int) -> int:
    return min(channels, max(32, channels >> doublings))


def _finer(channels: int, power: int) -> nn.Module:
    """Return a layer that doubles a map's sides ``power`` times and halves its channels each time."""
    steps: list[nn.Module] = []
    for turn in range(power):
        after = _width(channels, turn + 1)
        steps += [nn.ConvTranspose2d(_width(channels, turn), after, 2, 2)]
        if turn + 1 < power:
            steps += [nn.GroupNorm(1, after), nn.GELU()]
    return nn.Sequential(*steps)
