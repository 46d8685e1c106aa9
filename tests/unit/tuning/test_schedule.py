"""Schedulers judge trials by images seen, know them by number, and can be told again what they knew."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from thaw.tuning.options import Scheduler
from thaw.tuning.schedule import median
from thaw.tuning.schedule.on_ray import EPOCHS, TRIAL, ByNumber, rungs
from thaw.tuning.trial import Report, Trial

EPOCH, LAST = 100, 9
KINDS = ("asha", "hyperband", "median", "none")


def scheduler(by: str = "asha", told: tuple[Trial, ...] = (), out_of_time: bool = False, **options: Any) -> ByNumber:
    chosen = Scheduler.model_validate({"by": by, **options})
    return ByNumber(chosen, EPOCH, EPOCH * LAST, told, lambda: out_of_time)


def tell(judge: ByNumber, number: int, epoch: int, score: float) -> str:
    trial = SimpleNamespace(trial_id=f"ray{number}", config={TRIAL: number, EPOCHS: LAST})
    return judge.on_trial_result(None, trial, {"epoch": epoch, "images": EPOCH * epoch, "score": score})


def curves(trials: int = 12, seed: int = 0) -> list[tuple[int, int, float]]:
    """Return number, epoch and score of trials that come in turns."""
    source = random.Random(seed)
    ends = [source.random() for _ in range(trials)]
    return [(number, epoch, ends[number] * epoch / LAST) for epoch in range(1, LAST + 1) for number in range(trials)]


def decisions(judge: ByNumber, told: list[tuple[int, int, float]]) -> dict[int, list[str]]:
    """Return what was decided of each trial until it was stopped."""
    found: dict[int, list[str]] = {}
    for number, epoch, score in told:
        if found.setdefault(number, [])[-1:] != ["STOP"]:
            found[number].append(tell(judge, number, epoch, score))
    return found


def as_trials(told: list[tuple[int, int, float]], found: dict[int, list[str]]) -> tuple[Trial, ...]:
    """Return the trials as a journal has them after these decisions."""
    kept: dict[int, list[Report]] = {}
    for at, (number, epoch, score) in enumerate(told):
        if len(kept.setdefault(number, [])) < len(found[number]):
            kept[number].append(
                Report(epoch=epoch, images=EPOCH * epoch, depth=0, score=score, metrics={}, at_s=float(at))
            )
    return tuple(
        Trial(number=number, values={}, stage="running", reports=tuple(reports)) for number, reports in kept.items()
    )


def test_asha_stops_who_is_not_among_the_best_at_a_rung_and_nobody_in_between() -> None:
    judge = scheduler(reduction=3)
    for number, score in enumerate((0.5, 0.9, 0.8)):
        assert tell(judge, number, 1, score) == "CONTINUE" if number < 2 else "STOP"
    assert tell(judge, 1, 2, 0.1) == "CONTINUE"  # no rung at two epochs


@pytest.mark.parametrize("by", KINDS)
def test_the_trial_as_written_is_never_stopped_however_badly_it_does(by: str) -> None:
    told = [(number, epoch, 0.0 if number == 0 else score) for number, epoch, score in curves()]
    assert decisions(scheduler(by), told)[0] == ["CONTINUE"] * LAST


@pytest.mark.parametrize("by", KINDS)
def test_some_are_stopped_and_the_best_goes_on_to_the_end(by: str) -> None:
    told = curves()
    found = decisions(scheduler(by), told)
    best = max(range(12), key=lambda number: max(score for one, _, score in told if one == number))
    assert found[best] == ["CONTINUE"] * LAST
    assert any(one[-1] == "STOP" for one in found.values()) == (by != "none")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", KINDS)
def test_told_again_after_any_report_it_decides_as_it_would_have(by: str, seed: int) -> None:
    told = curves(seed=seed)
    wanted = decisions(scheduler(by), told)
    for cut in range(0, len(told), 7):
        before = decisions(scheduler(by), told[:cut])
        again = scheduler(by, as_trials(told[:cut], before))
        going_on = [one for one in told[cut:] if before.get(one[0], [])[-1:] != ["STOP"]]
        after = decisions(again, going_on)
        assert {number: [*before.get(number, []), *after.get(number, [])] for number in wanted} == wanted


def test_a_stop_that_was_not_written_down_any_more_is_known_again() -> None:
    told = curves()
    found = decisions(scheduler(), told)
    again = scheduler(told=as_trials(told, found))
    for number, decided in found.items():
        assert again.is_behind(number) == (decided[-1] == "STOP")


def test_a_report_that_comes_twice_is_judged_once() -> None:
    judge = scheduler("median")
    for number in range(1, 4):
        for epoch, score in ((1, 0.9), (2, 0.1), (2, 0.1)):
            tell(judge, number, epoch, score)
    assert tell(judge, 4, 2, 0.45) == "STOP"  # below their average of 0.5, which is not one of three values


@pytest.mark.parametrize("by", KINDS)
def test_the_last_epoch_needs_no_stopping_so_the_trial_counts_as_finished(by: str) -> None:
    judge = scheduler(by, grace_epochs=LAST)
    for number in range(5):
        for epoch in range(1, LAST + 1):
            assert tell(judge, number, epoch, -number * epoch) == "CONTINUE"


def test_out_of_time_all_end_with_their_epoch() -> None:
    judge = scheduler("none", out_of_time=True)
    assert tell(judge, 0, 1, 0.5) == "STOP"
    assert tell(judge, 1, LAST, 0.5) == "CONTINUE"


def test_what_is_no_epoch_is_not_judged() -> None:
    trial = SimpleNamespace(trial_id="x", config={TRIAL: 1, EPOCHS: LAST})
    assert scheduler().on_trial_result(None, trial, {"ended": True}) == "CONTINUE"
    assert scheduler().on_trial_result(None, trial, {"epoch": 0, "score": -1e308}) == "CONTINUE"


def test_rungs_lie_a_factor_apart_and_within_the_plan() -> None:
    assert rungs(Scheduler(reduction=3, grace_epochs=1), EPOCH, EPOCH * LAST) == (100, 300, 900)
    assert rungs(Scheduler(by="median"), EPOCH, EPOCH * LAST) == ()


def test_the_median_rule_compares_the_best_so_far_with_averages_of_those_that_came_as_far() -> None:
    others = {
        1: [(100, 0.2), (200, 0.6)],
        2: [(100, 0.4), (200, 0.4)],
        3: [(100, 0.8), (200, 0.8)],
        4: [(100, 1.0)],
    }
    assert median.falls_behind(0, {0: [(100, 0.3), (200, 0.3)], **others}, 100)  # averages 0.4, 0.4, 0.8
    assert not median.falls_behind(0, {0: [(100, 0.5), (200, 0.3)], **others}, 100)  # its best is 0.5
    assert not median.falls_behind(0, {0: [(100, 0.3), (200, 0.3)], **others}, 201)
    assert not median.falls_behind(0, {0: [(200, 0.0)], 1: others[1], 2: others[2]}, 100)  # only two others
