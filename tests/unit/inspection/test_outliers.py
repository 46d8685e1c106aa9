"""Outliers: distances are in standard deviations, and a few values far off do not move them."""

import numpy as np
import pytest

from thaw.inspection.outliers import distances


def test_distances_are_in_standard_deviations_of_most_values():
    values = np.random.default_rng(0).normal(10, 2, 4000)
    found = distances(values, 0.1)
    assert found.std() == pytest.approx(1, abs=0.05)
    values[:400] = 1000
    assert distances(values, 0.1)[400:].std() == pytest.approx(1, abs=0.25)
    assert found[values.argmin()] < 0


def test_where_all_but_one_are_the_same_a_small_difference_is_near():
    values = np.array([5.0] * 9 + [6.0])
    assert distances(values, 2.0)[-1] == 0.5
