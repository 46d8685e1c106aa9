"""Rate: how many requests a key may make, as a bucket of tokens that fills up steadily.

Every replica has buckets of its own: a key of ``100/min`` may make that many at each, for counting together would cost
every request a way to somewhere else.
"""

import re
from dataclasses import dataclass, field
from typing import Self

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
PATTERN = r"^[1-9]\d{0,6}/(s|min|h)$"


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds, and as many at once."""

    requests: int
    seconds: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the rate that is written as ``10/s``, ``100/min`` or ``5000/h``.

        Raises:
            ValueError: it is written otherwise.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError(f"{text!r} is not a rate; write it as 10/s, 100/min or 5000/h")
        number, _, unit = text.partition("/")
        return cls(int(number), _SECONDS[unit])


@dataclass
class _Bucket:
    tokens: float
    filled: float


@dataclass
class Buckets:
    """A bucket for every name that asks; names are those of keys, of which there are few."""

    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, name: str, rate: Rate, now: float) -> float:
        """Take a token for one request and return 0, or the seconds until there is one.

        Args:
            now: of a clock that never goes back, in seconds.
        """
        bucket = self._buckets.setdefault(name, _Bucket(rate.requests, now))
        each = rate.seconds / rate.requests
        bucket.tokens = min(rate.requests, bucket.tokens + (now - bucket.filled) / each)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) * each
        bucket.tokens -= 1
        return 0.0
