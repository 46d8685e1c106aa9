"""Calibration error is the gap between score and share that is right."""

import numpy as np
import pytest

from thaw.errors import DataError
from thaw.metrics.calibration import expected_calibration_error, reliability


def test_bins_hold_what_falls_into_them():
    found = reliability(np.array([0.0, 0.04, 0.5, 1.0]), np.array([False, True, True, True]), bins=10)
    assert [(one.low, one.answers, one.accuracy) for one in found] == [(0.0, 2, 0.5), (0.5, 1, 1.0), (0.9, 1, 1.0)]
    assert found[0].confidence == pytest.approx(0.02)
    assert sum(one.answers for one in found) == 4


def test_the_error_is_the_mean_gap():
    confidence, right = np.full(10, 0.8), np.arange(10) < 6
    assert expected_calibration_error(reliability(confidence, right)) == pytest.approx(0.2)
    both = np.concatenate([confidence, np.full(30, 0.3)]), np.concatenate([right, np.arange(30) < 9])
    assert expected_calibration_error(reliability(*both)) == pytest.approx(0.2 * 10 / 40)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(DataError, match="2 scores and 3"):
        reliability(np.zeros(2), np.zeros(3, dtype=bool))
    with pytest.raises(DataError, match="nothing to calibrate"):
        expected_calibration_error([])
