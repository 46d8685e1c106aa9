"""Rungs tell how many trials came to each comparison, how many ended there, and with what score."""

import made_up_sweep as made

from thaw.tuning.report.rungs import Rung, rungs
from thaw.tuning.trial import Report, Stage, Trial


def _trial(number: int, stage: Stage, *scores: float, images: int = 100) -> Trial:
    reports = tuple(
        Report(epoch=epoch, images=images * epoch, depth=0, score=score, metrics={}, at_s=epoch)
        for epoch, score in enumerate(scores, start=1)
    )
    return Trial(number=number, values={}, stage=stage, reports=reports)


TRIALS = [
    _trial(0, "finished", 0.5, 0.6, 0.7, 0.8),
    _trial(1, "stopped", 0.4),
    _trial(2, "stopped", 0.3),
    _trial(3, "stopped", 0.6, 0.65),
    _trial(4, "failed", 0.2),
    _trial(5, "failed"),
]


def test_rungs_are_read_off_the_trials_that_were_stopped() -> None:
    assert rungs(TRIALS) == [
        Rung(images=100, reached=5, stopped=2, highest_stopped=0.4, lowest_kept=0.2),
        Rung(images=200, reached=2, stopped=1, highest_stopped=0.65, lowest_kept=0.6),
    ]
    assert [rung.went_on for rung in rungs(TRIALS)] == [3, 1]


def test_a_rung_at_which_none_was_stopped_is_seen_where_it_is_told() -> None:
    found = rungs(TRIALS, at=(400, 100, 200))
    assert [rung.images for rung in found] == [100, 200, 400]
    assert found[2] == Rung(images=400, reached=1, stopped=0, highest_stopped=None, lowest_kept=0.8)


def test_trials_with_nearly_as_many_images_were_stopped_at_the_same_rung() -> None:
    found = rungs([_trial(0, "stopped", 0.1), _trial(1, "stopped", 0.2, images=104), _trial(2, "finished", 0.3)])
    assert [(rung.images, rung.stopped) for rung in found] == [(100, 2)]


def test_without_a_stopped_trial_there_is_no_rung() -> None:
    assert rungs([TRIALS[0], TRIALS[5]]) == []
    assert rungs([]) == []


def test_every_stopped_trial_was_stopped_at_one_rung() -> None:
    trials = made.sweep(60)
    assert sum(rung.stopped for rung in rungs(trials)) == sum(trial.stage == "stopped" for trial in trials)
