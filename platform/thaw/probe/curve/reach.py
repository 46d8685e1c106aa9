"""Reach: how many images a target takes by the laws that fit a curve, and when that cannot be told."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.probe.curve.law import Laws

FURTHEST = 10.0
"""Times the images there are, up to which a curve is followed: beyond, a power law is no more than a guess."""
BAND = (0.05, 0.95)
"""Quantiles over resamples between which a figure is said to lie."""

Verdict = Literal["reached", "needed", "unsure", "beyond"]
"""reached: with fewer images than there are. needed: with more. unsure: with more, but nothing says with how many at
most. beyond: probably not with `FURTHEST` times as many, so that better features are called for."""


class Reach(BaseModel):
    """What a target takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    images: int | None
    """The median over resamples; None where more than half of them do not reach it."""
    low: int | None
    high: int | None
    """Where the number lies, `BAND`; None where that is further than anything can be told."""

    @classmethod
    def of(cls, laws: Laws, error: float, images: int) -> "Reach":
        """Return what an error takes.

        Args:
            laws: of all resamples.
            images: how many there are.
        """
        furthest = FURTHEST * images
        needed = np.where(laws.needed(error) > furthest, np.inf, laws.needed(error))
        low, middle, high = (_quantile(needed, share) for share in (BAND[0], 0.5, BAND[1]))
        if middle is None:
            verdict: Verdict = "beyond"
        elif high is None:
            verdict = "unsure"
        else:
            verdict = "needed" if middle > images else "reached"
        return cls(verdict=verdict, images=middle, low=low, high=high)


def _quantile(needed: NDArray[np.float64], share: float) -> int | None:
    found = float(np.sort(needed)[int(share * (len(needed) - 1))])
    return max(1, int(np.ceil(found))) if np.isfinite(found) else None
