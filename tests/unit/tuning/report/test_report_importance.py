"""What alone decides the score is found to be what decides it; and nothing is said where nothing can be told."""

import random
import warnings
from typing import Any

import pytest

from thaw.tuning.report.importance import LEAST, importance
from thaw.tuning.report.range import Range
from thaw.tuning.trial import Report, Trial

RANGES = {
    "a.int": Range("int", 0, 8),
    "a.float": Range("float", 0.0, 1.0),
    "a.log": Range("log", 1e-5, 1e-1),
    "a.choice": Range("choice", choices=(None, True, 1, "word")),
}


def _trial(number: int, values: dict[str, Any], score: float) -> Trial:
    report = Report(epoch=1, images=10, depth=0, score=score, metrics={}, at_s=1.0)
    return Trial(number=number, values=values, stage="finished", reports=(report,))


def _drawn(draw: random.Random) -> dict[str, Any]:
    return {
        "a.int": draw.randint(0, 8),
        "a.float": draw.random(),
        "a.log": 10 ** draw.uniform(-5, -1),
        "a.choice": draw.choice(RANGES["a.choice"].choices),
    }


@pytest.mark.parametrize("planted", RANGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_dimension_that_alone_decides_is_the_most_important(planted: str, seed: int) -> None:
    draw = random.Random(seed)
    drawn = [_drawn(draw) for _ in range(60)]
    trials = [
        _trial(number, values, -abs((RANGES[planted].share(values[planted]) or 0.0) - 0.8))
        for number, values in enumerate(drawn)
    ]
    found = importance(trials, RANGES)
    assert found is not None
    assert next(iter(found)) == planted
    assert found[planted] > 0.5
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_dimension_that_only_some_trials_have_can_be_the_most_important() -> None:
    draw = random.Random(0)
    trials = []
    for number in range(80):
        values = _drawn(draw)
        if number % 2:
            del values["a.float"]
        trials.append(_trial(number, values, values.get("a.float", 0.6)))
    found = importance(trials, RANGES)
    assert found is not None
    assert next(iter(found)) == "a.float"


def test_what_sets_good_trials_apart_counts_more_than_what_makes_the_worst() -> None:
    draw = random.Random(0)
    trials = []
    for number in range(80):
        values = _drawn(draw)
        trials.append(_trial(number, values, -1.0 if values["a.choice"] == "word" else values["a.float"]))
    found = importance(trials, RANGES)
    assert found is not None
    assert next(iter(found)) == "a.float"


def test_a_dimension_that_no_trial_has_is_of_no_importance() -> None:
    draw = random.Random(0)
    trials = [_trial(number, values := _drawn(draw), values["a.float"]) for number in range(20)]
    found = importance(trials, {**RANGES, "b": Range("int", 0, 3)})
    assert found is not None
    assert found["b"] == 0.0


def test_a_value_outside_its_range_is_taken_as_not_set() -> None:
    draw = random.Random(0)
    trials = [_trial(number, _drawn(draw) | {"a.int": 99}, draw.random()) for number in range(20)]
    found = importance(trials, RANGES)
    assert found is not None
    assert found["a.int"] == 0.0


def test_too_few_trials_or_equal_scores_tell_nothing() -> None:
    draw = random.Random(0)
    few = [_trial(number, _drawn(draw), draw.random()) for number in range(LEAST - 1)]
    written = _trial(99, {}, 0.5)
    alike = [_trial(number, _drawn(draw), 0.5) for number in range(20)]
    assert importance([*few, written], RANGES) is None
    assert importance(alike, RANGES) is None
    assert importance([*few, _trial(7, _drawn(draw), draw.random())], RANGES) is not None


def test_nothing_is_said_on_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    trials = [_trial(number, _drawn(draw), draw.random()) for number in range(LEAST)]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        importance(trials, RANGES)
    said = capfd.readouterr()
    assert (said.out, said.err, [str(one.message) for one in warned]) == ("", "", [])
