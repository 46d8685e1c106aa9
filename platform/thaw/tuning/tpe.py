"""Tpe: trials drawn where others did well, by Optuna's tree-structured Parzen estimator.

Optuna's study is built from the trials for every suggestion and thrown away, so it holds nothing that could be lost.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thaw.tuning.dimension import Dimension
from thaw.tuning.search import Random
from thaw.tuning.space import Space
from thaw.tuning.trial import Trial, Values

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_ASKED_AGAIN = 16
"""How often Optuna is asked for values that no trial had, before they are drawn at random."""

_LOOKED_AT = 10_000
"""How many random draws are looked through, beyond the trials there are, for values that no trial had."""


@dataclass(frozen=True)
class Tpe:
    """A suggestion follows from the seed, the trial's number and the trials told, and from nothing else.

    Attributes:
        as_written: the values that trial 0 stands for, where they lie in the space; else it teaches nothing.
    """

    space: Space
    seed: int
    as_written: Values | None = None

    def suggest(self, number: int, told: Sequence[Trial]) -> Values | None:
        """Return the values of trial ``number``; see `Sampler`.

        Trials that run keep others at a distance, those stopped early count by their best score, those that failed
        not at all.
        """
        if number == 0:
            return {}
        study = self._study(number, sorted(told, key=lambda trial: trial.number))
        had = [trial.values for trial in told]
        for _ in range(_ASKED_AGAIN):
            asked = study.ask()
            values = self.space.drawn(lambda place, dimension: _suggested(asked, place, dimension))  # noqa: B023
            if values not in had:
                return values
        at_random = Random(self.space, self.seed)
        for place in range(1, _LOOKED_AT + len(had)):
            values_left = at_random.suggest(place)
            if values_left is None or values_left not in had:
                return values_left
        return None

    def _study(self, number: int, told: Sequence[Trial]) -> "optuna.Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            by = optuna.samplers.TPESampler(
                seed=_seed(self.seed, number), multivariate=True, group=True, constant_liar=True
            )
        study = optuna.create_study(direction="maximize", sampler=by)
        for trial in told:
            values = trial.values if trial.number else self.as_written
            if values is not None:
                study.add_trial(self._as_optuna(trial, values))
        return study

    def _as_optuna(self, trial: Trial, values: Values) -> "optuna.trial.FrozenTrial":
        import optuna
        from optuna.trial import TrialState

        state, score = TrialState.FAIL, None
        if trial.stage == "running":
            state = TrialState.RUNNING
        elif trial.stage != "failed" and trial.best is not None:
            state, score = TrialState.COMPLETE, trial.best.score
        dimensions = self.space.dimensions
        return optuna.trial.create_trial(
            state=state,
            value=score,
            params={place: _told(dimensions[place], value) for place, value in values.items()},
            distributions={place: _distribution(dimensions[place]) for place in values},
        )


def _suggested(asked: "optuna.Trial", place: str, dimension: Dimension) -> Any:
    """Return a value of one dimension; choices go by their place, since Optuna hashes what it chooses from."""
    if dimension.kind == "choice":
        return dimension.values[asked.suggest_categorical(place, range(len(dimension.values)))]
    low, high = dimension.values
    if dimension.kind == "int":
        return asked.suggest_int(place, low, high)
    return asked.suggest_float(place, low, high, log=dimension.kind == "log")


def _told(dimension: Dimension, value: Any) -> Any:
    return dimension.values.index(value) if dimension.kind == "choice" else value


def _distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna import distributions

    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(range(len(dimension.values)))
    low, high = dimension.values
    if dimension.kind == "int":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=dimension.kind == "log")


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "little")
