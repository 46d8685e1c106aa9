"""Space: which settings of an experiment a search varies, over what, and on what conditions.

What is drawn from it is plain values by dotted place; which of them are drawn next is a sampler's to say.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from thaw.catalog import did_you_mean
from thaw.config import load as config
from thaw.config import place as places
from thaw.config import plain
from thaw.config.experiment import Experiment, Name
from thaw.config.parts import Section
from thaw.errors import ConfigError, ThawError
from thaw.tuning import condition, order
from thaw.tuning.dimension import ALL, Dimension
from thaw.tuning.trial import Values

_BRACKET = "expected ',' or '}', but got '['"
_QUOTES = '; between braces, a place with an index needs quotes, as in {"finetune.phases[1].depth": 0}'

AnySpace = TypeVar("AnySpace", bound="Space")


class Space(Section):
    """The dimensions of a search, and what all its trials share."""

    name: Name
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted places -> plain values that every trial has, the experiment as it was written included."""
    dimensions: Annotated[dict[str, Dimension], Field(min_length=1)]
    """Dotted places -> what is drawn there."""

    @model_validator(mode="after")
    def _judge_as_a_whole(self) -> Self:
        if mistakes := order.mistakes(self.set, self.dimensions):
            raise ValueError("\n".join(mistakes))
        return self

    @property
    def order(self) -> tuple[str, ...]:
        """The places as they are drawn and set: as written, but after those that their conditions look at."""
        return order.ordered(self.dimensions)

    def resolved(self, groups: int) -> Self:
        """Return the space with ``all`` replaced by the number of layer groups of the backbone.

        Raises:
            ConfigError: a range or a condition is empty with so few.
        """
        written = self.model_dump(mode="json")
        for place, dimension in self.dimensions.items():
            if dimension.is_open:
                written["dimensions"][place]["int"] = [dimension.values[0], groups]
        return _validated(type(self), written, f"space {self.name}, where the backbone has {groups} layer groups")

    def drawn(self, choose: Callable[[str, Dimension], Any]) -> Values:
        """Return what ``choose`` says of each dimension in turn, passing over those whose conditions do not hold."""
        values: Values = {}
        for place in self.order:
            if order.applies(self.dimensions[place], values):
                values[place] = choose(place, self.dimensions[place])
        return values

    def points(self, of: Callable[[Dimension], Sequence[Any]] = Dimension.points) -> Iterator[Values]:
        """Yield every combination of the values that ``of`` gives, each once, the last dimension changing fastest."""
        return self._points({}, self.order, of)

    def experiment(self, base: Experiment, values: Values) -> Experiment:
        """Return an experiment with what all trials share and with the values that were drawn.

        Raises:
            ConfigError: the experiment has no such place, as with a phase that its plan lacks, or is not valid.
        """
        return self._experiment(base, values, f"space {self.name}")

    def check(
        self, base: Experiment, plan_check: Callable[[Experiment], object], draws: int = 64, seed: int = 0
    ) -> None:
        """See that experiments drawn from the space are valid: the one as written, the space's ends, random ones.

        The space must be as `resolved` returns it, with a number in place of every ``all``.

        Args:
            plan_check: raises `ThawError` of an experiment whose plan does not fit the backbone.
            draws: how many random ones follow the ends.

        Raises:
            ConfigError: one is not; the message says what was drawn, and why that is not valid.
        """
        source = random.Random(seed)
        drawn = (self.drawn(lambda _, dimension: dimension.at(source.random())) for _ in range(draws))
        for values in [{}, *self._ends(), *drawn]:
            shown = ", ".join(f"{place}={value!r}" for place, value in values.items())
            where = f"space {self.name}, with {shown or 'nothing drawn'}"
            changed = self._experiment(base, values, where)
            try:
                plan_check(changed)
            except ThawError as error:
                raise ConfigError(f"{where}: {error}") from None

    def values_of(self, base: Experiment, groups: int) -> Values | None:
        """Return the values that the experiment as written has at the dimensions' places; None if one lies outside.

        Args:
            groups: layer groups of its backbone, which is what a depth of ``all`` means.
        """
        try:
            shared = self.experiment(base, {})
            return self.drawn(partial(_own, shared, shared.model_dump(mode="json"), groups))
        except (ConfigError, LookupError, TypeError):
            return None

    def _experiment(self, base: Experiment, values: Values, where: str) -> Experiment:
        unknown = [place for place in values if place not in self.dimensions]
        if unknown:
            hint = did_you_mean(unknown[0], self.dimensions)
            raise ConfigError(f"{where}: {unknown[0]} is no dimension; there are {', '.join(self.dimensions)}{hint}")
        ordered = {place: values[place] for place in self.order if place in values}
        return config.changed(base, {**self.set, **ordered}, where)

    def _ends(self) -> Iterator[Values]:
        """Yield every value of each choice, and both ends of each range, beside the others' first and last values.

        Where a condition would not hold there, the dimension that it looks at has a value for which it does.
        """
        for place, dimension in self.dimensions.items():
            needed = order.needed(place, self.dimensions)
            for end in dimension.values:
                yield from (self.drawn(partial(_at_end, {place: end}, needed, others)) for others in (0, -1))

    def _points(
        self, values: Values, left: Sequence[str], of: Callable[[Dimension], Sequence[Any]]
    ) -> Iterator[Values]:
        if not left:
            yield values
        elif not order.applies(self.dimensions[left[0]], values):
            yield from self._points(values, left[1:], of)
        else:
            for value in of(self.dimensions[left[0]]):
                yield from self._points({**values, left[0]: value}, left[1:], of)


def read(kind: type[AnySpace], path: str | Path) -> AnySpace:
    """Read a space, or what holds more than one, from a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or an entry is not valid; one line per mistake.
    """
    place = str(path)
    try:
        written = plain.read(Path(path), "a space's", "name and dimensions")
    except ConfigError as error:
        raise ConfigError(f"{error}{_QUOTES if _BRACKET in str(error) else ''}") from None
    return _validated(kind, plain.expanded(written, place), place)


def _validated(kind: type[AnySpace], written: Mapping[str, Any], place: str) -> AnySpace:
    try:
        return kind.model_validate(dict(written))
    except ValidationError as error:
        raise config.explained(error, place) from None


def _at_end(given: Values, needed: Mapping[str, list[Any]], others: int, place: str, dimension: Dimension) -> Any:
    if place in given:
        return given[place]
    wanted = needed.get(place, [])
    candidates = [dimension.values[others], *(condition.example(one, dimension) for one in wanted)]
    fitting = (value for value in candidates if all(condition.holds(one, value) for one in wanted))
    return next(fitting, candidates[0])


def _own(shared: Experiment, values: Mapping[str, Any], groups: int, place: str, dimension: Dimension) -> Any:
    """Return the value of a dimension that leaves an experiment as it is; LookupError where none does."""
    if dimension.kind == "choice":
        candidates = [value for value in dimension.values if _leaves(shared, place, value)]
    else:
        own = places.at(values, place)
        own = groups if own == ALL and dimension.kind == "int" else own
        candidates = [own] if dimension.holds(own) else []
    if not candidates:
        raise LookupError(place)
    return candidates[0]


def _leaves(shared: Experiment, place: str, value: Any) -> bool:
    try:
        return config.changed(shared, {place: value}, place) == shared
    except ConfigError:
        return False
