"""Counts: what was seen of one version while another one was tried; they only grow, and can be added up."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

EDGES_S = tuple(0.001 * 1.25**power for power in range(46))
"""Upper ends of the intervals that seconds are counted by; the last interval has none."""


@dataclass(frozen=True)
class Counts:
    """What was seen of one version.

    Attributes:
        answered: images.
        failed: what was wrong -> images that it failed to answer.
        slow: how many answers took how long, by `EDGES_S`.
        abstained: share of an answer of which the model was unsure, summed over images.
        compared: images that another version answered too.
        differed: share of an answer that was another one, summed over these.
    """

    answered: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    slow: tuple[int, ...] = (0,) * (len(EDGES_S) + 1)
    abstained: float = 0.0
    compared: int = 0
    differed: float = 0.0

    @property
    def errors(self) -> int:
        """Images that it failed to answer."""
        return sum(self.failed.values())

    @property
    def asked(self) -> int:
        """Images that it was asked for."""
        return self.answered + self.errors

    def within_s(self, share: float) -> float | None:
        """Return the seconds within which a share of the answers came, rounded up to one of `EDGES_S`; None if none."""
        least, seen = share * sum(self.slow), 0
        for place, number in enumerate(self.slow):
            seen += number
            if seen and seen >= least:
                return EDGES_S[min(place, len(EDGES_S) - 1)]
        return None

    def slower(self, than_s: float) -> int:
        """Return how many answers certainly took longer."""
        return sum(self.slow[bisect_left(EDGES_S, than_s) + 1 :])


class Tally:
    """Counts in the making, of one version, in one thread."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()
        self._slow = [0] * (len(EDGES_S) + 1)
        self._answered = self._compared = 0
        self._abstained = self._differed = 0.0

    def answer(self, seconds: float | None, abstained: float) -> None:
        """Add an answer; ``seconds`` is left out where it says nothing of how long callers wait."""
        self._answered += 1
        self._abstained += abstained
        if seconds is not None:
            self._slow[bisect_left(EDGES_S, seconds)] += 1

    def failure(self, kind: str) -> None:
        """Add an image that it failed to answer."""
        self._failed[kind] += 1

    def comparison(self, differed: float) -> None:
        """Add an image that another version answered too."""
        self._compared += 1
        self._differed += differed

    def counts(self) -> Counts:
        """Return what was counted so far."""
        return Counts(
            self._answered, dict(self._failed), tuple(self._slow), self._abstained, self._compared, self._differed
        )


def total(counts: Iterable[Counts]) -> Counts:
    """Return what several replicas have seen together."""
    every = tuple(counts)
    failed: Counter[str] = Counter()
    for one in every:
        failed.update(one.failed)
    return Counts(
        answered=sum(one.answered for one in every),
        failed=dict(failed),
        slow=tuple(map(sum, zip(*(one.slow for one in every), strict=True))) or Counts().slow,
        abstained=sum(one.abstained for one in every),
        compared=sum(one.compared for one in every),
        differed=sum(one.differed for one in every),
    )
