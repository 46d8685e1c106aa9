"""When a version that is tried is taken back."""

import numpy as np
import pytest

from thaw.config.rollout import Rollout
from thaw.serving.rollout.bounds import DOUBT, highest, judge, lowest, lowest_difference
from thaw.serving.rollout.counts import Tally

BOUNDS = Rollout(min_requests=100)


def counted(answered=1000, errors=0, seconds=0.02, abstained=0.0, compared=0, differed=0.0):
    made = Tally()
    for place in range(answered):
        made.answer(seconds * (1 + place % 10 / 50), abstained)
    for _ in range(errors):
        made.failure("model_error")
    for _ in range(compared):
        made.comparison(differed)
    return made.counts()


def crossed(champion, tried, bounds=BOUNDS, comparable=True):
    return [one.bound for one in judge(champion, tried, bounds, comparable)]


def test_a_version_as_good_as_the_champion_goes_on():
    assert crossed(counted(), counted(300, compared=150, differed=0.02)) == []
    assert crossed(counted(), counted(0)) == []
    assert crossed(counted(0), counted(0)) == []


def test_a_version_that_fails_always_is_taken_back_after_few_requests():
    assert crossed(counted(), counted(0, errors=12)) == ["max_errors"]
    assert crossed(counted(), counted(0, errors=1)) == []


def test_one_error_is_no_reason_but_many_are():
    assert crossed(counted(), counted(200, errors=1)) == []
    assert crossed(counted(), counted(300, errors=30)) == ["max_errors"]


def test_errors_that_the_champion_has_too_are_no_reason():
    assert crossed(counted(5000, errors=500), counted(300, errors=30)) == []


def test_errors_count_where_nothing_else_answers():
    assert crossed(counted(0), counted(200, errors=60)) == ["max_errors"]


def test_other_bounds_wait_for_enough_requests():
    different = {"seconds": 0.2, "abstained": 0.9}
    few, many = (counted(number, **different, compared=number, differed=1.0) for number in (99, 300))
    assert crossed(counted(), few) == []
    assert set(crossed(counted(), many)) == {"max_disagreement", "max_abstained", "max_latency_ratio"}


@pytest.mark.parametrize(("seconds", "found"), [(0.03, []), (0.08, ["max_latency_ratio"])])
def test_a_version_may_be_slower_within_its_bound(seconds, found):
    assert crossed(counted(), counted(300, seconds=seconds)) == found


def test_seconds_of_a_shadow_are_not_compared():
    assert crossed(counted(), counted(300, seconds=1.0), comparable=False) == []


def test_a_few_slow_answers_are_no_reason():
    made = Tally()
    for place in range(300):
        made.answer(1.0 if place < 10 else 0.02, 0.0)
    assert crossed(counted(), made.counts()) == []


def test_being_unsure_too_seldom_is_judged_as_being_unsure_too_often():
    assert crossed(counted(abstained=0.5), counted(500, abstained=0.1)) == ["max_abstained"]
    assert crossed(counted(abstained=0.1), counted(500, abstained=0.5)) == ["max_abstained"]


def test_what_was_found_is_told_with_its_figures():
    [found] = judge(counted(), counted(300, compared=200, differed=0.8), BOUNDS)
    assert str(found) == f"max_disagreement: 0.8, at least {found.at_least:.4g} where 0.15 is allowed"
    assert 0.6 < found.at_least < 0.8


@pytest.mark.parametrize("mean", [0.01, 0.2, 0.9])
def test_an_interval_misses_the_mean_more_seldom_than_it_says(mean):
    draws = np.random.default_rng(0).binomial(100, mean, 2000)
    ends = {int(drawn): (lowest(drawn, 100), highest(drawn, 100)) for drawn in set(draws)}
    missed = np.mean([not ends[int(drawn)][0] <= mean <= ends[int(drawn)][1] for drawn in draws])
    assert missed <= 20 * DOUBT
    low, high = ends[int(np.median(draws))]
    assert high - low < 0.45


def test_an_interval_narrows_and_holds_the_mean():
    assert lowest(0, 50) == 0
    assert highest(50, 50) == 1
    assert 0 < lowest(5, 10) < lowest(500, 1000) < 0.5 < highest(500, 1000)
    assert lowest(10, 10) == pytest.approx(DOUBT ** (1 / 10), abs=1e-6)
    assert lowest_difference((90, 100), (10, 100)) < 0.8
    assert lowest_difference((90, 100), (10, 100)) > 0.5
    assert lowest_difference((1, 1), (0, 0)) == -1
