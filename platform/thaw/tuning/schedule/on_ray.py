"""Ray Tune's schedulers, by the numbers of trials, so that what they knew can be told again.

They keep what they know of a trial by its id in Ray, which is another after a restart, and Ray's own restore
forgets rungs (ray#30838). Here the reports that are written down are simply told to a new scheduler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from thaw.tuning.options import Scheduler
from thaw.tuning.trial import Report, Trial

TRIAL = "trial"
"""Where a trial's number stands in its Ray config."""


@dataclass(frozen=True)
class _Known:
    """A trial as the schedulers see it."""

    trial_id: str


class ByNumber(FIFOScheduler):
    """A scheduler of Ray Tune that knows trials by number."""

    def __init__(self, options: Scheduler, epoch_images: int, all_images: int, told: Sequence[Trial]) -> None:
        """Begin where a sweep stands.

        Args:
            epoch_images: images that an epoch sees.
            all_images: images that the longest trial sees.
            told: trials of earlier attempts.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._brackets = _brackets(options, epoch_images, all_images)
        self._added: set[int] = set()
        for trial in told:
            for report in trial.reports:
                self._judged(trial.number, figures(report))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Return whether a trial goes on; the one as written always does."""
        number = int(trial.config[TRIAL])
        if not result.get("epoch") or self._judged(number, result) == TrialScheduler.CONTINUE or number == 0:
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)

    def _judged(self, number: int, result: dict[str, Any]) -> str:
        if not self._brackets:
            return str(TrialScheduler.CONTINUE)
        bracket, known = self._brackets[number % len(self._brackets)], _Known(f"{number:04d}")
        if number not in self._added:
            self._added.add(number)
            bracket.on_trial_add(None, known)
        return str(bracket.on_trial_result(None, known, result))


def figures(report: Report) -> dict[str, Any]:
    """Return what schedulers judge by; by images seen, so that batches of all sizes are judged at equal data."""
    return {"epoch": report.epoch, "images": report.images, "score": report.score}


def _brackets(options: Scheduler, epoch_images: int, all_images: int) -> list[Any]:
    """Return schedulers that take turns over the trials; none where every trial goes on."""
    grace = options.grace_epochs * epoch_images
    judged: dict[str, Any] = {"time_attr": "images", "metric": "score", "mode": "max"}
    if options.by == "none":
        return []
    if options.by == "median":  # without a slice of time after which trials would give way to others
        return [MedianStoppingRule(**judged, grace_period=grace, min_time_slice=2**62)]
    # One image more than there are: a trial that has seen them all is finished, not stopped.
    most, brackets = max(all_images, grace) + 1, 3 if options.by == "hyperband" else 1
    graces = [min(most, round(grace * options.reduction**bracket)) for bracket in range(brackets)]
    return [
        AsyncHyperBandScheduler(**judged, max_t=most, grace_period=one, reduction_factor=options.reduction)
        for one in graces
    ]
