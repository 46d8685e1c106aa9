"""Rungs: where the scheduler compared trials, and what it stopped there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from thaw.tuning.trial import Report, Trial

_ALIKE = 1.1
"""Trials that ended within this factor of images are taken to have been stopped at the same rung."""


@dataclass(frozen=True)
class Rung:
    """One comparison of trials that had seen as many images."""

    images: int
    reached: int
    """Trials that reported with as many images seen, or more."""
    stopped: int
    highest_stopped: float | None
    """The highest score that was not enough here; None where none was stopped."""
    lowest_kept: float | None
    """The lowest score, at this rung, of a trial that went on from it; None where none did.

    It can lie below `highest_stopped`: a trial that comes early is compared with few others.
    """

    @property
    def went_on(self) -> int:
        """Trials that had not been stopped here."""
        return self.reached - self.stopped


def rungs(trials: Sequence[Trial], at: Sequence[int] = ()) -> list[Rung]:
    """Return the rungs of a sweep, from the fewest images to the most.

    Args:
        trials: all of the sweep.
        at: images seen at which trials were compared. Where it is not told, rungs are read off the trials that were
            stopped, so that one at which none was stopped stays unseen.
    """
    marks = sorted(set(at)) or _marks(trials)
    return [_rung(trials, mark, top) for mark, top in zip_longest(marks, marks[1:])]


def _marks(trials: Sequence[Trial]) -> list[int]:
    marks: list[int] = []
    for images in sorted(trial.reports[-1].images for trial in trials if trial.stage == "stopped" and trial.reports):
        if not marks or images > marks[-1] * _ALIKE:
            marks.append(images)
    return marks


def _rung(trials: Sequence[Trial], mark: int, top: int | None) -> Rung:
    here = [(trial, report) for trial in trials if (report := _report_at(trial, mark))]
    stopped = [trial for trial, _ in here if _stopped_below(trial, top)]
    kept = [report.score for trial, report in here if trial not in stopped]
    return Rung(
        images=mark,
        reached=len(here),
        stopped=len(stopped),
        highest_stopped=max((trial.reports[-1].score for trial in stopped), default=None),
        lowest_kept=min(kept, default=None),
    )


def _report_at(trial: Trial, mark: int) -> Report | None:
    """Return a trial's first report with so many images seen."""
    return next((report for report in trial.reports if report.images >= mark), None)


def _stopped_below(trial: Trial, top: int | None) -> bool:
    return trial.stage == "stopped" and (top is None or trial.reports[-1].images < top)
