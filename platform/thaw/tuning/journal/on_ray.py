"""What Ray Tune tells and asks the driver of a sweep: results are written down, and the next values are drawn."""

# ruff: noqa: ARG002 - Ray Tune gives more than is wanted, by name

import time
from collections.abc import Sequence
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from thaw.console import say
from thaw.storage import Root
from thaw.tuning import progress, sweep
from thaw.tuning.schedule.on_ray import TRIAL
from thaw.tuning.search import Sampler
from thaw.tuning.sweep import Sweep
from thaw.tuning.trial import Report, Stage, Trial


class Journal(Callback):
    """Writes down what becomes of each trial, as soon as it is known.

    Attributes:
        trials: all trials of the sweep, by number.
        wanted: how many there are to be in all, where that is known.
    """

    def __init__(self, root: Root, current: Sweep, told: Sequence[Trial], wanted: int | None) -> None:
        """Begin where the sweep stands.

        Args:
            wanted: trials in all, where that is known.
        """
        self.trials = {trial.number: trial for trial in told}
        self._root, self._sweep = root, current
        self.wanted = wanted
        self._clock = time.monotonic() - sweep.seconds(told)
        self._begun: dict[int, float] = {}
        self._refused: dict[int, str] = {}
        self._ended: set[int] = set()

    @property
    def seconds(self) -> float:
        """How long the sweep has run, over all attempts."""
        return time.monotonic() - self._clock

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that a trial begins."""
        number = _number(trial)
        if number not in self._begun:
            say(progress.begins(self.trials[number]))
        self._begun[number] = time.monotonic()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Write down an epoch; one that was told of before a crash is not told of twice."""
        number = _number(trial)
        known = self.trials[number]
        if result.get("ended"):
            self._ended.add(number)
        if refused := result.get("refused"):
            self._refused[number] = str(refused)
        if not result.get("epoch") or any(report.epoch >= result["epoch"] for report in known.reports):
            return
        kept = {key: result[key] for key in Report.model_fields if key in result}
        report = Report.model_validate({**kept, "at_s": self.seconds})
        self.write(known.model_copy(update={"reports": (*known.reports, report), "seconds": self._spent(number)}))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write down how a trial ended."""
        number = _number(trial)
        if refused := self._refused.get(number):
            self._over(number, "failed", refused)
        elif number in self._ended:
            self._over(number, "finished")
        else:
            self._over(number, "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write down that a trial crashed too often."""
        cause = getattr(trial.get_error(), "cause", None) or trial.get_error()
        lines = [line for line in str(cause).splitlines() if line.strip()]
        self._over(_number(trial), "failed", lines[-1].strip()[:500] if lines else type(cause).__name__)

    def _over(self, number: int, stage: Stage, error: str | None = None) -> None:
        update = {"stage": stage, "error": error, "seconds": self._spent(number)}
        self.write(self.trials[number].model_copy(update=update))
        say(progress.ends(self.trials[number], self.trials, self.wanted, self.seconds))

    def _spent(self, number: int) -> float:
        begun = self._begun.get(number, time.monotonic())
        self._begun[number] = time.monotonic()
        return self.trials[number].seconds + time.monotonic() - begun

    def write(self, trial: Trial) -> None:
        """Keep what is known of a trial now."""
        self.trials[trial.number] = trial
        sweep.save_trial(self._root, self._sweep, trial)


class Draws(Searcher):
    """Gives Ray Tune the trials that an earlier attempt left unfinished, and then new ones."""

    def __init__(self, sampler: Sampler, journal: Journal) -> None:
        """Begin where the journal stands."""
        super().__init__()
        self._sampler, self._journal = sampler, journal
        self._unfinished = sorted(trial.number for trial in journal.trials.values() if trial.stage == "running")
        self._next = max(journal.trials, default=-1) + 1

    def suggest(self, trial_id: str) -> Any:
        """Return a trial's config, or that there are no more."""
        if self._unfinished:
            return _config(self._journal.trials[self._unfinished.pop(0)])
        known = list(self._journal.trials.values())
        drawn = None if self._next == self._journal.wanted else self._sampler.suggest(self._next, known)
        if drawn is None:
            return str(Searcher.FINISHED)
        self._journal.write(Trial(number=self._next, values=drawn, stage="running"))
        self._next += 1
        return _config(self._journal.trials[self._next - 1])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Know of it already: the journal tells the sampler."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: no state of Ray Tune's is read back."""


def _config(trial: Trial) -> dict[str, Any]:
    return {TRIAL: trial.number, "values": trial.values, "known": trial.reports[-1].epoch if trial.reports else 0}


def _number(trial: Any) -> int:
    return int(trial.config[TRIAL])
