"""Order: which dimension of a space is drawn and set after which, and what of that cannot be.

A dimension comes after those that its conditions look at, and what is set later must not undo what was set before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from thaw.catalog import did_you_mean
from thaw.config import place as places
from thaw.tuning import condition
from thaw.tuning.dimension import Dimension


def ordered(dimensions: Mapping[str, Dimension]) -> tuple[str, ...]:
    """Return the places as they were written, but each after those in its ``when``; without those that never can be."""
    done: dict[str, None] = {}
    while ready := [place for place in dimensions if place not in done and set(dimensions[place].when) <= done.keys()]:
        done[ready[0]] = None
    return tuple(done)


def applies(dimension: Dimension, drawn: Mapping[str, Any]) -> bool:
    """Return whether a dimension is drawn beside these values, which are all that come before it."""
    return all(place in drawn and condition.holds(wanted, drawn[place]) for place, wanted in dimension.when.items())


def needed(place: str, dimensions: Mapping[str, Dimension]) -> dict[str, list[Any]]:
    """Return what each other dimension must be for the one at ``place`` to be drawn: its conditions, and theirs."""
    found: dict[str, list[Any]] = {}
    for other, wanted in dimensions[place].when.items():
        for further, conditions in {other: [wanted], **needed(other, dimensions)}.items():
            found.setdefault(further, []).extend(conditions)
    return found


def mistakes(shared: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> list[str]:
    """Return a line about everything that cannot be in what all trials share and what is drawn."""
    told = [*_no_places(shared, "set"), *_no_places(dimensions, "dimensions"), *_conditions(dimensions)]
    return told or [*_circles(dimensions), *_undone([*shared, *ordered(dimensions)])]


def _no_places(named: Iterable[str], where: str) -> Iterator[str]:
    for place in named:
        steps = places.steps(place)
        if not steps or isinstance(steps[0], int) or places.written(steps) != place:
            yield f"{where}: {place!r} is no place in an experiment; write one such as finetune.phases[1].depth"


def _conditions(dimensions: Mapping[str, Dimension]) -> Iterator[str]:
    for place, dimension in dimensions.items():
        for other, wanted in dimension.when.items():
            where = f"dimensions.{place}.when"
            others = [known for known in dimensions if known != place]
            if other not in others:
                known = f"there are {', '.join(others)}" if others else "there is none"
                yield f"{where}: {other} is no other dimension; {known}{did_you_mean(other, others)}"
            elif reason := condition.mistake(wanted, dimensions[other]):
                yield f"{where}: {other} {reason}"


def _circles(dimensions: Mapping[str, Dimension]) -> Iterator[str]:
    left = [place for place in dimensions if place not in ordered(dimensions)]
    if left:
        yield f"dimensions.{left[0]}.when: {' and '.join(left)} wait for one another; take out one of their conditions"


def _undone(order: Sequence[str]) -> Iterator[str]:
    """Tell of a place that is set before the whole of which it is a part, which then replaces it."""
    for first, place in enumerate(order):
        for later in order[first + 1 :]:
            if _replaces(later, place):
                yield f"dimensions.{later}: is set after {place} and replaces it; write it first, or keep one of them"


def _replaces(later: str, place: str) -> bool:
    plans = [["finetune", "recipe"], ["finetune", "phases"]]
    whole, part = places.steps(later), places.steps(place)
    return (len(part) > len(whole) and part[: len(whole)] == whole) or (
        whole in plans and part[:2] in plans and part[:2] != whole
    )
