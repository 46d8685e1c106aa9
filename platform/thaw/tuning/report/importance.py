"""Importance: how much of what set good trials apart was due to each dimension."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thaw.tuning.report.range import Range, Ranges
from thaw.tuning.trial import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

LEAST = 8
"""Trials with values and a score below which nothing can be told."""

_GOOD, _SHARE = 5, 0.1
"""Good trials are the best tenth, but five at least: fewer make the estimate unsteady (Optuna's documentation)."""


def importance(trials: Sequence[Trial], ranges: Ranges) -> dict[str, float] | None:
    """Return each dimension's share of what decided whether a trial was a good one, the greatest first; sum 1.

    It compares where the good trials lie in a dimension with where all do. A dimension that only some trials have is
    compared among those that have it, and counts the more, the more of the good trials those are. Whether a trial has
    it at all counts for the dimension that decides this. A value outside its range is taken as not set.

    Trials are compared by their best score, whatever they had seen by then: those that the scheduler stopped were
    behind with as many images.

    Returns:
        None where there are fewer than `LEAST` trials with values and a score, or their scores are all the same.

    Source: conditional PED-ANOVA, arXiv:2601.20800, as Optuna 5 implements it; arXiv:2304.10255 before that.
    """
    found = [(best.score, drawn) for trial in trials if (best := trial.best) and (drawn := _inside(trial, ranges))]
    if len(found) < LEAST or len({score for score, _ in found}) == 1:
        return None
    with _quiet():
        shares = _shares([_frozen(score, drawn, ranges) for score, drawn in found])
    everywhere = {place: shares.get(place, 0.0) for place in ranges}
    return dict(sorted(everywhere.items(), key=lambda one: -one[1]))


def _inside(trial: Trial, ranges: Ranges) -> dict[str, Any]:
    return {
        place: value
        for place, value in trial.values.items()
        if place in ranges and ranges[place].share(value) is not None
    }


def _shares(frozen: "list[FrozenTrial]") -> dict[str, float]:
    import optuna

    study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    study.add_trials(frozen)
    quantile = min(0.5, max(_SHARE, _GOOD / len(frozen)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _frozen(score: float, drawn: dict[str, Any], ranges: Ranges) -> "FrozenTrial":
    import optuna

    return optuna.trial.create_trial(
        value=score,
        params={place: _number(ranges[place], value) for place, value in drawn.items()},
        distributions={place: _distribution(ranges[place]) for place in drawn},
    )


def _number(range_: Range, value: Any) -> Any:
    """Return a choice as its place among them: Optuna takes True for 1, and no lists."""
    return range_.index(value) if range_.kind == "choice" else value


def _distribution(range_: Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match range_.kind:
        case "choice":
            return CategoricalDistribution(tuple(range(len(range_.choices))))
        case "int":
            return IntDistribution(int(range_.low), int(range_.high))
    return FloatDistribution(range_.low, range_.high, log=range_.kind == "log")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what Optuna says of a study that nobody else sees."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
