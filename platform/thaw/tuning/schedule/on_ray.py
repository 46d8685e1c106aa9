"""Ray Tune's schedulers, by the numbers of trials, so that what they knew can be told again.

They keep what they know of a trial by its id in Ray, which is another after a restart, and Ray's own restore
forgets rungs (ray#30838). Here the reports that are written down are told to a new scheduler, in the order in which
they came.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from thaw.tuning.options import Scheduler
from thaw.tuning.schedule import median
from thaw.tuning.trial import Trial

TRIAL, EPOCHS = "trial", "epochs"
"""Where a trial's number, and the epochs of its plan, stand in its Ray config."""


@dataclass(frozen=True)
class _Known:
    """A trial as the schedulers see it."""

    trial_id: str


class ByNumber(FIFOScheduler):
    """A scheduler of Ray Tune that knows trials by number."""

    def __init__(
        self,
        options: Scheduler,
        epoch_images: int,
        all_images: int,
        told: Sequence[Trial],
        is_out_of_time: Callable[[], bool],
    ) -> None:
        """Begin where a sweep stands.

        Args:
            epoch_images: images that an epoch sees.
            all_images: images that trial 0 sees.
            told: trials of earlier attempts.
            is_out_of_time: says whether nothing may go on any more.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._options, self._grace = options, options.grace_epochs * epoch_images
        self._brackets = _brackets(options, self._grace, max(all_images, self._grace))
        self._curves: dict[int, list[tuple[int, float]]] = {}
        self._is_out_of_time = is_out_of_time
        self._is_behind: dict[int, bool] = {}
        came = [(report.at_s, trial.number, report) for trial in told for report in trial.reports]
        for _, number, report in sorted(came, key=lambda one: one[:2]):
            self._judge(number, report.images, report.score)

    def is_behind(self, number: int) -> bool:
        """Return whether a trial is to end after what it reported last."""
        return number != 0 and self._is_behind.get(number, False)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Return whether a trial goes on; the one as written does, and one that is at its end needs no stopping."""
        if not result.get("epoch"):
            return str(TrialScheduler.CONTINUE)
        number = int(trial.config[TRIAL])
        self._judge(number, int(result["images"]), float(result["score"]))
        is_last = int(result["epoch"]) >= int(trial.config[EPOCHS])
        ends = not is_last and (self.is_behind(number) or self._is_out_of_time())
        return str(TrialScheduler.STOP if ends else TrialScheduler.CONTINUE)

    def _judge(self, number: int, images: int, score: float) -> None:
        """Note what a trial reported, once: Ray Tune tells of the last report of a trial again."""
        curve = self._curves.setdefault(number, [])
        if curve and images <= curve[-1][0]:
            return
        curve.append((images, score))
        if self._options.by == "median":
            self._is_behind[number] = median.falls_behind(number, self._curves, self._grace)
        elif self._brackets:
            bracket, known = self._brackets[number % len(self._brackets)], _Known(f"{number:04d}")
            if len(curve) == 1:
                bracket.on_trial_add(None, known)
            decided = bracket.on_trial_result(None, known, {"images": images, "score": score})
            self._is_behind[number] = decided == TrialScheduler.STOP


def rungs(options: Scheduler, epoch_images: int, all_images: int) -> tuple[int, ...]:
    """Return the numbers of images seen at which asha compares trials; none for others."""
    found, rung = [], float(options.grace_epochs * epoch_images)
    while options.by == "asha" and rung <= all_images:
        found.append(round(rung))
        rung *= options.reduction
    return tuple(found)


def _brackets(options: Scheduler, grace: int, most: int) -> list[Any]:
    """Return the asynchronous successive halvings that take turns over the trials; by images seen, so that batches of
    all sizes are judged at equal data."""
    count = {"asha": 1, "hyperband": 3}.get(options.by, 0)
    graces = [min(most, round(grace * options.reduction**bracket)) for bracket in range(count)]
    return [
        AsyncHyperBandScheduler(
            time_attr="images",
            metric="score",
            mode="max",
            max_t=most,
            grace_period=one,
            reduction_factor=options.reduction,
            stop_last_trials=False,
        )
        for one in graces
    ]
