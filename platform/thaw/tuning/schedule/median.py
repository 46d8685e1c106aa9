"""The median rule: a trial ends when its best score so far is below the median of what others averaged by then.

Ray Tune's own rule asks its controller for more than there is after a restart, and does not let a trial go on that it
would stop, as the experiment as written must.

Source: Golovin et al. 2017, Google Vizier, section 3.2.1, with running averages.
"""

import statistics
from collections.abc import Mapping, Sequence

_LEAST = 3
"""Others that must have come as far before anyone is judged."""

Curve = Sequence[tuple[int, float]]
"""Images seen, and the score that was reached, of every epoch of a trial in order."""


def falls_behind(number: int, curves: Mapping[int, Curve], grace_images: int) -> bool:
    """Return whether a trial is to end after its last epoch.

    Args:
        curves: of all trials, by number.
        grace_images: no trial ends before it has seen so many.
    """
    images = curves[number][-1][0]
    averages = [
        statistics.fmean(score for seen, score in curve if seen <= images)
        for other, curve in curves.items()
        if other != number and curve[-1][0] >= images
    ]
    if images < grace_images or len(averages) < _LEAST:
        return False
    return max(score for _, score in curves[number]) < statistics.median(averages)
