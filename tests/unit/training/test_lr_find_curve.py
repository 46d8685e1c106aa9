"""A curve is smoothed by what batches have in common, and its lowest point says the rate."""

import numpy as np
import pytest

from thaw.training.lr_find.curve import Curve

STEPS = 100
RATES = tuple(10 ** (-6 + 6 * step / (STEPS - 1)) for step in range(STEPS))


def curve(losses, resting, weights=None, rates=RATES):
    return Curve(rates=rates[: len(losses)], losses=losses, resting=resting, weights=weights or {"one": 1.0})


def valley(lowest: float, noise: float, seed: int) -> Curve:
    """Return a curve that falls to 1 at a rate, from 2, and rises behind it; batches differ by ``noise``."""
    own = np.random.default_rng(seed).normal(0, noise, STEPS)
    away = np.abs(np.log10(np.array(RATES) / lowest))
    clean = np.minimum(1 + away**2 / 2, 2) * (np.array(RATES) <= lowest) + (1 + away**2) * (np.array(RATES) > lowest)
    return curve(
        [{"one": float(value)} for value in clean + own], [{"one": float(value)} for value in np.full(STEPS, 2.0) + own]
    )


@pytest.mark.parametrize("lowest", [1e-4, 3e-3, 5e-2])
@pytest.mark.parametrize("seed", range(6))
def test_the_suggestion_is_a_tenth_of_the_best_rate_however_much_batches_differ(lowest, seed):
    suggested = valley(lowest, noise=1.5, seed=seed).suggestion
    assert lowest / 10 / 1.2 < suggested < 3 * lowest / 10
    assert suggested == valley(lowest, noise=0.0, seed=seed).suggestion


def test_the_suggestion_has_two_digits():
    assert valley(3e-3, 0.0, 0).suggestion == float(f"{valley(3e-3, 0.0, 0).suggestion:.1e}")


def test_where_nothing_is_gained_the_smoothed_loss_is_the_mean_at_rest():
    resting = [{"one": float(value)} for value in np.random.default_rng(0).normal(3, 1, STEPS)]
    found = curve(resting, resting)
    assert found.level == pytest.approx(np.mean([one["one"] for one in resting]))
    assert found.smoothed() == pytest.approx([found.level] * STEPS)


def test_a_constant_gain_shows_from_the_first_step_on():
    resting = [{"one": 3.0}] * STEPS
    assert curve([{"one": 2.0}] * STEPS, resting).smoothed() == pytest.approx([2.0] * STEPS)


def test_the_smoothed_loss_looks_back_a_tenth_of_all_steps():
    losses = [{"one": 3.0}] * 50 + [{"one": 2.0}] * 50
    after = curve(losses, [{"one": 3.0}] * STEPS).smoothed()[59]
    assert after == pytest.approx(3 - (1 - 0.9**10), abs=0.01)


def test_tasks_count_by_their_weights():
    found = curve([{"one": 1.0, "two": 4.0}] * 40, [{"one": 2.0, "two": 8.0}] * 40, {"one": 1.0, "two": 0.5})
    assert found.level == 6.0
    assert found.smoothed() == pytest.approx([3.0] * 40)
    assert found.smoothed_by_task()["two"] == pytest.approx([4.0] * 40)


def test_a_batch_without_labels_for_a_task_changes_nothing_of_it():
    losses = [{"one": 1.0, "two": 1.0}, {"one": 1.0}, {"one": 1.0, "two": 1.0}]
    found = curve(losses, [{"one": 2.0, "two": 2.0}, {"one": 2.0}, {"one": 2.0, "two": 2.0}], {"one": 1, "two": 1})
    assert found.smoothed() == pytest.approx([2.0] * 3)


def test_a_curve_is_the_same_after_it_was_stored():
    found = valley(1e-3, 0.5, 0)
    assert Curve.model_validate_json(found.model_dump_json()) == found
