"""What a target takes is said with its band, and where that cannot be told this is said."""

import numpy as np

from thaw.probe.curve.law import Laws
from thaw.probe.curve.reach import FURTHEST, Reach

IMAGES = 1000


def _reach(needed: list[float]) -> Reach:
    """Return what laws come to that reach an error of 0.1 with so many images each."""
    floor = np.array([0.0 if np.isfinite(one) else 0.2 for one in needed])
    height = 0.1 * np.array([one if np.isfinite(one) else 1.0 for one in needed]) / IMAGES
    laws = Laws(floor, height, np.ones(len(needed)), IMAGES)
    return Reach.of(laws, 0.1, IMAGES)


def test_a_target_that_takes_more_images_is_needed() -> None:
    found = _reach([2000.0 + one for one in range(101)])
    assert (found.verdict, found.images, found.low, found.high) == ("needed", 2050, 2005, 2095)


def test_a_target_that_takes_fewer_is_reached() -> None:
    found = _reach([400.0 + one for one in range(101)])
    assert (found.verdict, found.images) == ("reached", 450)


def test_where_too_many_laws_never_come_to_it_no_upper_bound_is_given() -> None:
    found = _reach([2000.0] * 90 + [np.inf] * 11)
    assert (found.verdict, found.images, found.low, found.high) == ("unsure", 2000, 2000, None)


def test_where_most_laws_never_come_to_it_it_is_beyond() -> None:
    found = _reach([2000.0] * 40 + [np.inf] * 61)
    assert (found.verdict, found.images, found.low) == ("beyond", None, 2000)


def test_no_law_is_followed_too_far() -> None:
    assert _reach([FURTHEST * IMAGES * 1.01] * 101).verdict == "beyond"
    assert _reach([FURTHEST * IMAGES * 0.99] * 101).verdict == "needed"


def test_images_are_whole_and_at_least_one() -> None:
    assert _reach([0.0] * 101).images == 1
    assert _reach([2000.2] * 101).images == 2001
