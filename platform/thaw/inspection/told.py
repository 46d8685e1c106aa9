"""Told: how findings speak of images, and which of them they show."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.material import Material

NAMED = 5
"""Class names in one sentence."""


def are(count: int, of: int, things: str = "images") -> str:
    """Return the beginning of a sentence, such as ``3 of 1,200 images are``."""
    return f"{count:,} of {of:,} {things} {'is' if count == 1 else 'are'}"


def named(names: Sequence[str]) -> str:
    """Return names for one sentence; figures have all of them."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def worst(
    ids: Sequence[str], chosen: NDArray[np.bool_], by: NDArray[np.float64], note: Callable[[int], str]
) -> tuple[Case, ...]:
    """Return cases of the chosen images, those of the highest value first.

    Args:
        note: what is said of the image in a row.
    """
    rows = np.flatnonzero(chosen)
    order = rows[np.argsort(-by[rows], kind="stable")][:SHOWN]
    return tuple(Case(images=(ids[row],), note=note(row), score=round(float(by[row]), 4)) for row in order.tolist())


def set_aside(
    material: Material, words: Mapping[str, tuple[str, str]], prefix: str, things: tuple[str, str]
) -> Iterator[Finding]:
    """Yield a warning for each reason for which preparing set something aside.

    Args:
        words: reason -> what is wrong, to follow ``3 images are set aside:``, and what to do.
        prefix: of the findings' names; a reason that begins with it is a name as it is.
        things: what was set aside, one and several.
    """
    for reason, (wrong, advice) in words.items():
        found = [one for one in material.rejected if one["reason"] == reason]
        if found:
            those = f"{things[0]} is" if len(found) == 1 else f"{things[1]} are"
            yield Finding(
                name=reason if reason.startswith(prefix) else f"{prefix}_{reason}",
                level="warning",
                told=f"{len(found):,} {those} set aside: {wrong}.",
                advice=advice,
                count=len(found),
                cases=tuple(Case(images=(one["id"],), note=one["detail"]) for one in found[:SHOWN]),
            )
