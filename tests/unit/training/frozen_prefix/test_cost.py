"""The cache is used where it saves time and fits, by figures that can be worked out by hand."""

import dataclasses

import pytest

from thaw.training.frozen_prefix.cost import Measured, Wanted, figures, shown_bytes

ONE = Measured(fill_s=0.02, below_s=0.02, above_s=0.001, row_bytes=5000)
"""Computing below the cut is what takes the time."""
DECODING = Measured(fill_s=0.02, below_s=0.001, above_s=0.019, row_bytes=5000)
"""Decoding is, and the step above the cut is nearly as slow."""
WANTED = Wanted(images=100, views=2, seen=1000, workers=2, max_bytes=10**6)


def test_seconds_are_the_slower_of_decoding_and_computing_for_every_image_that_is_seen() -> None:
    assert WANTED.seconds(ONE, cached=False) == pytest.approx(1000 * 0.021 / 2)
    assert WANTED.seconds(ONE, cached=True) == pytest.approx((200 * 0.02 + 1000 * 0.001) / 2)
    assert WANTED.seconds(DECODING, cached=False) == pytest.approx(1000 * 0.020 / 2)
    assert WANTED.seconds(DECODING, cached=True) == pytest.approx((200 * 0.02 + 1000 * 0.019) / 2)


@pytest.mark.parametrize(
    ("one", "views", "pays"), [(ONE, 2, True), (ONE, 9, True), (ONE, 10, False), (DECODING, 1, False)]
)
def test_it_pays_where_the_phase_is_over_sooner(one: Measured, views: int, pays: bool) -> None:
    assert dataclasses.replace(WANTED, views=views).pays(one) == pays


def test_all_views_of_all_images_must_fit() -> None:
    assert WANTED.fits(ONE)
    assert WANTED.bytes(ONE) == 10**6
    assert not dataclasses.replace(WANTED, max_bytes=10**6 - 1).fits(ONE)


def test_the_figures_are_told() -> None:
    size = "5 KB an image and view, 2 view(s), 1 MB of 1 MB"
    assert figures(WANTED, ONE, used=True) == f"{size}; about 2.0 s to fill, then at most 2,000 images/s instead of 95"
    assert figures(WANTED, DECODING, used=False) == (
        f"{size}; the phase would take about 11.5 s with it and 10.0 s without"
    )
    assert "too much" in figures(dataclasses.replace(WANTED, max_bytes=10), ONE, used=False)


@pytest.mark.parametrize(("number", "shown"), [(5, "5 B"), (5120, "5.12 KB"), (12e6, "12 MB"), (2.1e9, "2.1 GB")])
def test_bytes_are_told_in_thousands(number: float, shown: str) -> None:
    assert shown_bytes(number) == shown
