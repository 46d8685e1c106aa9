"""Cost: whether keeping what the frozen layers make of images saves time, from what the first of them took.

Pure figures. A training step waits for its images while they are decoded elsewhere, so what counts is the slower of
decoding and computing: without the cache for every image of every epoch, with it once for each view of an image.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What one image cost on one worker, in seconds, and its bytes.

    Attributes:
        fill_s: to wait for its pixels and compute what is below.
        below_s: to compute what is below.
        above_s: to train what is above.
        row_bytes: kept of one view of it.
    """

    fill_s: float
    below_s: float
    above_s: float
    row_bytes: float

    @property
    def plain_s(self) -> float:
        """Seconds to train on it without the cache."""
        return max(self.fill_s, self.below_s + self.above_s)


@dataclass(frozen=True)
class Wanted:
    """What a phase asks of the cache.

    Attributes:
        images: in the split.
        views: of each image that are needed.
        seen: images that are trained on in all epochs that are left, repeated ones included.
        workers: that share the work.
        max_bytes: the budget.
    """

    images: int
    views: int
    seen: int
    workers: int
    max_bytes: int

    def bytes(self, one: Measured) -> int:
        """Return the bytes that all views of all images take."""
        return round(one.row_bytes * self.images * self.views)

    def fits(self, one: Measured) -> bool:
        """Return whether they fit the budget."""
        return self.bytes(one) <= self.max_bytes

    def seconds(self, one: Measured, cached: bool) -> float:
        """Return what the rest of the phase takes with the cache or without it, in seconds."""
        if not cached:
            return self.seen * one.plain_s / self.workers
        return (self.images * self.views * one.fill_s + self.seen * one.above_s) / self.workers

    def pays(self, one: Measured) -> bool:
        """Return whether the rest of the phase is over sooner with the cache."""
        return self.seconds(one, cached=True) < self.seconds(one, cached=False)


def figures(wanted: Wanted, one: Measured, used: bool) -> str:
    """Return the figures by which it was decided, for a person."""
    size = (
        f"{shown_bytes(one.row_bytes)} an image and view, {wanted.views} view(s), "
        f"{shown_bytes(wanted.bytes(one))} of {shown_bytes(wanted.max_bytes)}"
    )
    if not wanted.fits(one):
        return f"{size}: too much; raise train.cache.max_bytes or lower the phase's views"
    if not used:
        with_it, without = wanted.seconds(one, cached=True), wanted.seconds(one, cached=False)
        return f"{size}; the phase would take about {with_it:.1f} s with it and {without:.1f} s without"
    fill = wanted.images * wanted.views * one.fill_s / wanted.workers
    fast, slow = wanted.workers / one.above_s, wanted.workers / one.plain_s
    return f"{size}; about {fill:.1f} s to fill, then at most {fast:,.0f} images/s instead of {slow:,.0f}"


def shown_bytes(number: float) -> str:
    """Return bytes for a person, in units of 1,000."""
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
