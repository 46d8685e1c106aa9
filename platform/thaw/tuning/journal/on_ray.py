"""What Ray Tune tells and asks the driver of a sweep: results are written down, and the next values are drawn."""

# ruff: noqa: ARG002 - Ray Tune gives more than is wanted, by name

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from thaw.console import say
from thaw.errors import ConfigError, StorageError
from thaw.storage import PAUSES_S, Root, patiently
from thaw.tuning import checkpoints, progress, sweep
from thaw.tuning.schedule.on_ray import EPOCHS, TRIAL
from thaw.tuning.search import Sampler
from thaw.tuning.sweep import Sweep
from thaw.tuning.trial import Report, Stage, Trial, Values


class Journal(Callback):
    """Writes down what becomes of each trial, as soon as it is known.

    Attributes:
        trials: all trials of the sweep, by number.
        wanted: how many there are to be in all, where that is known.
        refusal: why nothing can be written down any more; the sweep is to end then, as it was last written down.
    """

    def __init__(
        self,
        root: Root,
        current: Sweep,
        told: Sequence[Trial],
        wanted: int | None,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """Begin where the sweep stands.

        Args:
            wanted: trials in all, where that is known.
            pauses_s: before what the store refused is written again.
        """
        self.trials = {trial.number: trial for trial in told}
        self._root, self._sweep = root, current
        self.wanted = wanted
        self.refusal: StorageError | ConfigError | None = None
        self._pauses_s = pauses_s
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
            self.end(number, "failed", refused)
        elif number in self._ended:
            self.end(number, "finished")
        else:
            self.end(number, "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write down that a trial crashed too often; unless the store is to blame, of which the others are not free."""
        cause = getattr(trial.get_error(), "cause", None) or trial.get_error()
        if isinstance(cause, StorageError):
            self.refusal = self.refusal or cause
            return
        lines = [line for line in str(cause).splitlines() if line.strip()]
        self.end(_number(trial), "failed", lines[-1].strip()[:500] if lines else type(cause).__name__)

    def end(self, number: int, stage: Stage, error: str | None = None) -> None:
        """Write down that a trial is over, and tell."""
        update = {"stage": stage, "error": error, "seconds": self._spent(number)}
        self.write(self.trials[number].model_copy(update=update))
        if self._wrote(lambda: checkpoints.strip(self._root, sweep.place_of(self._sweep, number))):
            say(progress.ends(self.trials[number], self.trials, self.wanted, self.seconds))

    def _spent(self, number: int) -> float:
        begun = self._begun.get(number, time.monotonic())
        self._begun[number] = time.monotonic()
        return self.trials[number].seconds + time.monotonic() - begun

    def write(self, trial: Trial) -> None:
        """Keep what is known of a trial now."""
        self.trials[trial.number] = trial
        self._wrote(lambda: sweep.save_trial(self._root, self._sweep, trial))

    def _wrote(self, write: Callable[[], None]) -> bool:
        """Do what the store may refuse; nothing more once it has refused for good."""
        if self.refusal is None:
            try:
                sweep.check_attempt(self._root, self._sweep)
                patiently(write, say, self._pauses_s)
            except (StorageError, ConfigError) as error:
                self.refusal = error
        return self.refusal is None

    def check(self) -> None:
        """Raise what keeps the sweep from being written down, if anything does.

        Raises:
            StorageError: with what to do.
            ConfigError: another driver goes on with the sweep.
        """
        if isinstance(self.refusal, ConfigError):
            raise self.refusal
        if self.refusal:
            raise StorageError(
                f"sweep {self._sweep.id} can no longer be written down: {self.refusal}. Mend that, such as by freeing "
                f"space, and run `thaw tune --resume {self._sweep.id}`: its trials go on from their checkpoints"
            )


class WithJournal(Stopper):
    """Ends all trials once nothing can be written down any more."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Leave single trials to the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Return whether the journal has ended."""
        return self._journal.refusal is not None


class Draws(Searcher):
    """Gives Ray Tune the trials that an earlier attempt left unfinished, and then new ones."""

    def __init__(
        self,
        sampler: Sampler,
        journal: Journal,
        epochs: Callable[[Values], int],
        is_out_of_time: Callable[[], bool],
    ) -> None:
        """Begin where the journal stands.

        Args:
            epochs: gives the epochs of a trial's plan.
            is_out_of_time: says whether no trial may begin any more.
        """
        super().__init__()
        self._sampler, self._journal, self._epochs, self._is_out_of_time = sampler, journal, epochs, is_out_of_time
        self._unfinished = sorted(trial.number for trial in journal.trials.values() if trial.stage == "running")
        self._next = max(journal.trials, default=-1) + 1

    def suggest(self, trial_id: str) -> Any:
        """Return a trial's config, or that there are no more."""
        if self._is_out_of_time() or self._journal.refusal:
            return Searcher.FINISHED
        if self._unfinished:
            return self._config(self._unfinished.pop(0))
        known = list(self._journal.trials.values())
        full = self._journal.wanted is not None and self._next >= self._journal.wanted
        drawn = None if full else self._sampler.suggest(self._next, known)
        if drawn is None:
            return Searcher.FINISHED
        self._journal.write(Trial(number=self._next, values=drawn, stage="running"))
        if self._journal.refusal:
            return Searcher.FINISHED
        self._next += 1
        return self._config(self._next - 1)

    def _config(self, number: int) -> dict[str, Any]:
        trial = self._journal.trials[number]
        known = trial.reports[-1].epoch if trial.reports else 0
        return {TRIAL: number, EPOCHS: self._epochs(trial.values), "values": trial.values, "known": known}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Know of it already: the journal tells the sampler."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: no state of Ray Tune's is read back."""


def _number(trial: Any) -> int:
    return int(trial.config[TRIAL])
