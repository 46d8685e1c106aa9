"""Bounds: whether what was seen of a version that is tried is worse than it may be. Pure judgement.

Nothing is judged by a figure alone: of a few requests it may be anything. A bound is crossed once even the better end
of an interval around the figure lies beyond it.
"""

import math
from dataclasses import dataclass

from thaw.config.rollout import Rollout
from thaw.serving.rollout.counts import Counts

DOUBT = 1e-4
"""How often chance alone may put the end of an interval on the wrong side; small, for it is asked every few seconds."""
SHARE = 0.95
"""Of the answers, that latencies are compared for."""
_STEPS = 40


@dataclass(frozen=True)
class Crossed:
    """A bound that was crossed.

    Attributes:
        bound: the field of `Rollout`.
        tried, champion: the figure of either; a champion has none where the figure is of both.
        at_least: by how much, in the measure of the bound, the version is off even if chance was against it.
    """

    bound: str
    tried: float
    champion: float | None
    at_least: float
    allowed: float

    def __str__(self) -> str:
        beside = "" if self.champion is None else f" beside {self.champion:.4g}"
        return (
            f"{self.bound}: {self.tried:.4g}{beside}, at least {self.at_least:.4g} where {self.allowed:.4g} is allowed"
        )


def judge(champion: Counts, tried: Counts, bounds: Rollout, comparable_times: bool = True) -> tuple[Crossed, ...]:
    """Return the bounds that a version has crossed.

    Args:
        comparable_times: whether both were asked for by callers who waited, as they are not in a shadow.
    """
    found = [_errors(champion, tried, bounds)]
    if tried.answered >= bounds.min_requests:
        found += [_disagreement(tried, bounds), _abstained(champion, tried, bounds)]
        if comparable_times and sum(champion.slow) >= bounds.min_requests:
            found.append(_latency(champion, tried, bounds))
    return tuple(one for one in found if one is not None)


def lowest(total: float, count: int) -> float:
    """Return the lower end of an interval around the mean of values in [0, 1], given their sum and number.

    It holds for any such values, drawn one by one, not for yes and no alone.

    Source: Hoeffding 1963, doi:10.1080/01621459.1963.10500830, theorem 1, eq. 2.1, solved for the mean.
    """
    if count == 0 or total <= 0:
        return 0.0
    mean, enough = min(1.0, total / count), -math.log(DOUBT) / count
    low, high = 0.0, mean
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) > enough else (low, middle)
    return low


def highest(total: float, count: int) -> float:
    """Return the upper end of the interval that `lowest` is the lower end of."""
    return 1.0 - lowest(count - total, count)


def lowest_difference(one: tuple[float, int], other: tuple[float, int]) -> float:
    """Return the lower end of an interval around the difference of two means of values in [0, 1].

    Args:
        one, other: sum and number of the values.

    Source: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10, with other
    intervals around each mean.
    """
    if not one[1] or not other[1]:
        return -1.0
    mean, beside = one[0] / one[1], other[0] / other[1]
    return mean - beside - math.hypot(mean - lowest(*one), highest(*other) - beside)


def _errors(champion: Counts, tried: Counts, bounds: Rollout) -> Crossed | None:
    least = lowest_difference((tried.errors, tried.asked), _or_good(champion.errors, champion.asked))
    figures = _mean(tried.errors, tried.asked), _mean(champion.errors, champion.asked)
    return _crossed("max_errors", figures, least, bounds.max_errors)


def _disagreement(tried: Counts, bounds: Rollout) -> Crossed | None:
    figures = _mean(tried.differed, tried.compared), None
    return _crossed("max_disagreement", figures, lowest(tried.differed, tried.compared), bounds.max_disagreement)


def _abstained(champion: Counts, tried: Counts, bounds: Rollout) -> Crossed | None:
    one, other = (tried.abstained, tried.answered), (champion.abstained, champion.answered)
    least = max(lowest_difference(one, other), lowest_difference(other, one))
    return _crossed("max_abstained", (_mean(*one), _mean(*other)), least, bounds.max_abstained)


def _latency(champion: Counts, tried: Counts, bounds: Rollout) -> Crossed | None:
    """Judge by how many answers took longer than is allowed for 95 of 100."""
    usual, taken = champion.within_s(SHARE), tried.within_s(SHARE)
    if usual is None or taken is None:
        return None
    late = lowest(tried.slower(bounds.max_latency_ratio * usual), sum(tried.slow))
    if late <= 1 - SHARE:
        return None
    return Crossed("max_latency_ratio", taken, usual, taken / usual, bounds.max_latency_ratio)


def _crossed(bound: str, figures: tuple[float, float | None], least: float, allowed: float) -> Crossed | None:
    return Crossed(bound, figures[0], figures[1], least, allowed) if least > allowed else None


def _or_good(errors: float, asked: int) -> tuple[float, int]:
    """Return counts, or those of one that never fails where nothing was asked: a canary may get every request."""
    return (errors, asked) if asked else (0, 10**9)


def _mean(total: float, count: int) -> float:
    return total / count if count else 0.0


def _divergence(mean: float, other: float) -> float:
    """Return the Kullback-Leibler divergence of two shares; infinite where the other one excludes the mean."""
    parts = ((mean, other), (1 - mean, 1 - other))
    if any(one and not two for one, two in parts):
        return math.inf
    return sum(one * math.log(one / two) for one, two in parts if one)
