"""What a person sees while work goes on: on stderr, a bar on a terminal and plain lines in a job's log.

Results are not printed here; they go to stdout, where another program may read them. The log of a job holds both, so
there each line of a result is marked.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

MARKED = "THAW_MARK_RESULTS"
"""Variable that says that lines of results are to be marked."""
_MARK = "thaw-result "
_EVERY_S = 5.0

T = TypeVar("T")


def say(line: str) -> None:
    """Print one line about what is going on."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints progress


def as_result(line: str) -> str:
    """Return a line of a result as it is printed."""
    return _MARK + json.dumps(line) if os.environ.get(MARKED) else line


def result_in(line: str) -> str | None:
    """Return the line of a result that a line of a log holds; None where it holds none."""
    return str(json.loads(line.removeprefix(_MARK))) if line.startswith(_MARK) else None


def track(items: Iterable[T], what: str, total: int, counts: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """Yield ``items`` while showing how many of ``total`` are done.

    Args:
        counts: for how many an item counts.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=what, total=total, leave=False, file=sys.stderr) as bar:
            for item in items:
                yield item
                bar.update(counts(item))
    else:
        yield from _in_lines(items, what, total, counts)


def _in_lines(items: Iterable[T], what: str, total: int, counts: Callable[[T], int]) -> Iterator[T]:
    shown, done = time.monotonic(), 0
    for item in items:
        yield item
        done += counts(item)
        if time.monotonic() - shown > _EVERY_S:
            shown = time.monotonic()
            say(f"{what}: {done} of {total}")
