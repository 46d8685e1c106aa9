"""Search: in which order trials are drawn from a space, as pure functions of the seed and of what trials came to.

Nothing is kept between two suggestions, so nothing needs saving, and a sweep that is started again goes on as it would
have. How trials run, and which of them end early, is decided elsewhere.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, PositiveInt, model_validator

from thaw.config.parts import Section
from thaw.tuning.dimension import Dimension
from thaw.tuning.space import Space
from thaw.tuning.trial import Trial, Values

_FEW = 10_000
"""Spaces with no more points than this are drawn from without putting back."""


class Search(Section):
    """How a space is searched."""

    by: Literal["random", "grid", "tpe"] = "tpe"
    """tpe: where trials did well, more and more; Optuna's tree-structured Parzen estimator. random: each trial for
    itself. grid: every combination of every dimension's points, in order."""
    trials: PositiveInt | None = None
    """Trials in all, the experiment as it was written included. With grid it may be left out: all of them."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What is drawn follows from it, and with tpe from what trials came to."""

    @model_validator(mode="after")
    def _end_some_time(self) -> Self:
        if self.trials is None and self.by != "grid":
            raise ValueError(f"trials: {self.by} has no end of its own; give a number, such as 32, or use grid")
        return self


class Sampler(Protocol):
    """Where the values of each trial come from. It does not count trials: `Search.trials` is for who asks."""

    def suggest(self, number: int, told: Sequence[Trial]) -> Values | None:
        """Return the values of trial ``number``, which are none for trial 0; None where nothing is left to draw.

        Args:
            told: the trials so far, in any order, those that still run included.
        """
        ...


@dataclass(frozen=True)
class Random:
    """Each trial drawn for itself: its values depend on the seed and its number alone.

    Of a space with few points each is drawn once, in the order in which repeated draws would first have met them.
    """

    space: Space
    seed: int

    def suggest(self, number: int, told: Sequence[Trial] = ()) -> Values | None:  # noqa: ARG002 - as every sampler
        """Return the values of trial ``number``; see `Sampler`."""
        if number == 0:
            return {}
        if self._few is not None:
            return self._few[number - 1] if number <= len(self._few) else None
        source = random.Random(f"{self.seed}/{number}")
        return self.space.drawn(lambda _, dimension: dimension.at(source.random()))

    @cached_property
    def _few(self) -> list[Values] | None:
        """All points of the space in the order in which they are drawn; None if there are many.

        Source: Efraimidis & Spirakis 2006, doi:10.1016/j.ipl.2005.11.003: keys that sort as weighted draws would.
        """
        if any(dimension.every() is None for dimension in self.space.dimensions.values()):
            return None
        points = list(islice(self.space.points(_every), _FEW + 1))
        if len(points) > _FEW:
            return None
        source = random.Random(f"{self.seed}")
        keys = [-math.log(1 - source.random()) * self._rarity(point) for point in points]
        return [points[place] for place in sorted(range(len(points)), key=keys.__getitem__)]

    def _rarity(self, point: Values) -> int:
        """Return one in how many draws is this point."""
        return math.prod(len(_every(self.space.dimensions[place])) for place in point)


@dataclass(frozen=True)
class Grid:
    """Every combination of every dimension's points, the last dimension changing fastest, each once."""

    space: Space

    def suggest(self, number: int, told: Sequence[Trial] = ()) -> Values | None:  # noqa: ARG002 - as every sampler
        """Return the values of trial ``number``; see `Sampler`."""
        return {} if number == 0 else next(islice(self.space.points(), number - 1, None), None)


def sampler(space: Space, search: Search, as_written: Values | None = None) -> Sampler:
    """Return what draws trials as asked.

    Args:
        space: with a number in place of every ``all``.
        as_written: what `Space.values_of` says of the experiment, for tpe to learn from trial 0.
    """
    match search.by:
        case "random":
            return Random(space, search.seed)
        case "grid":
            return Grid(space)
        case "tpe":
            from thaw.tuning.tpe import Tpe

            return Tpe(space, search.seed, as_written)


def _every(dimension: Dimension) -> Sequence[object]:
    return dimension.every() or ()
