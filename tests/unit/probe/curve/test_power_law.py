"""A power law is recovered from its own points, never promises the impossible, and says what a target takes."""

import numpy as np
import pytest

from thaw.probe.curve.law import EXPONENTS, Laws

SIZES = np.array([50.0, 100.0, 200.0, 400.0, 800.0])


def _points(floor: float, height: float, exponent: float) -> np.ndarray:
    return floor + height * (SIZES / SIZES.max()) ** -exponent


@pytest.mark.parametrize(("floor", "height"), [(0.0, 0.1), (0.1, 0.05), (0.25, 0.01)])
@pytest.mark.parametrize("place", [4, 18, 38])
def test_a_law_is_recovered(floor: float, height: float, place: int) -> None:
    exponent = float(EXPONENTS[place])
    law = Laws.fit(SIZES, _points(floor, height, exponent)[None])
    assert law.exponent[0] == pytest.approx(exponent)
    assert law.floor[0] == pytest.approx(floor, abs=1e-9)
    assert law.height[0] == pytest.approx(height, abs=1e-9)
    assert law.at(8000)[0] == pytest.approx(floor + height * 10**-exponent)


def test_many_are_fitted_at_once_each_to_its_own_points() -> None:
    random = np.random.default_rng(0)
    errors = _points(0.1, 0.1, 0.5) + 0.02 * random.normal(size=(6, 5))
    together = Laws.fit(SIZES, errors)
    for row, one in enumerate(errors):
        alone = Laws.fit(SIZES, one[None])
        for part in ("floor", "height", "exponent"):
            assert getattr(together, part)[row] == pytest.approx(getattr(alone, part)[0])


def test_neither_part_is_below_nothing() -> None:
    falling = Laws.fit(SIZES, np.array([[0.9, 0.5, 0.25, 0.1, 0.01]]))  # steeper than any law that has a floor
    assert falling.floor[0] == 0
    assert falling.at(1e9)[0] >= 0
    rising = Laws.fit(SIZES, np.array([[0.1, 0.15, 0.2, 0.25, 0.3]]))
    assert rising.height[0] == 0
    assert rising.at(1e9)[0] == pytest.approx(rising.at(100)[0])


def test_of_all_laws_the_nearest_one_is_taken() -> None:
    errors = _points(0.05, 0.1, 0.4) + np.array([0.01, -0.01, 0.01, -0.01, 0.01])
    weights = SIZES / SIZES.sum()
    best = float(weights @ (Laws.fit(SIZES, errors[None]).at(SIZES) - errors) ** 2)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    for floor, height, exponent in random.random((2000, 3)) * [0.2, 0.3, 1.5]:
        assert float(weights @ (_points(floor, height, exponent) - errors) ** 2) >= best - 1e-6


def test_larger_sizes_count_more() -> None:
    errors = _points(0.1, 0.1, 0.5)
    off_small, off_large = errors.copy(), errors.copy()
    off_small[0] += 0.1
    off_large[-1] += 0.1
    kept = [abs(Laws.fit(SIZES, one[None]).at(800)[0] - errors[-1]) for one in (off_small, off_large)]
    assert kept[0] < 0.01 < kept[1]


def test_what_a_target_takes_is_where_the_law_meets_it() -> None:
    law = Laws.fit(SIZES, _points(0.1, 0.1, 0.5)[None])
    needed = law.needed(0.12)[0]
    assert law.at(float(needed))[0] == pytest.approx(0.12)
    assert law.needed(0.1)[0] == np.inf
    assert law.needed(0.05)[0] == np.inf


def test_a_flat_law_meets_its_target_at_once_or_never() -> None:
    law = Laws.fit(SIZES, np.full((1, 5), 0.2))
    assert law.needed(0.3)[0] == 0
    assert law.needed(0.1)[0] == np.inf
