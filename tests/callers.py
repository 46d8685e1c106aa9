"""Callers who ask an endpoint without a pause while something happens to it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

import stored

CALLERS = 4
PAUSE_S = 0.05
PATIENCE_S = 120
IMAGES = tuple(stored.png(stored.image(seed)) for seed in range(12))


class Callers:
    """Callers who ask one after another without a pause; every one of their requests is kept.

    Attributes:
        seen: when, status or kind of error, version.
    """

    def __init__(self, url: str, images: Sequence[bytes], callers: int, pause_s: float) -> None:
        self.url, self._pause_s = url, pause_s
        self.seen: list[tuple[float, int | str, int | None]] = []
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._images = images
        self._threads = [threading.Thread(target=self._ask, args=(place,)) for place in range(callers)]
        for thread in self._threads:
            thread.start()

    def _ask(self, caller: int) -> None:
        number = 0
        with httpx.Client(timeout=30) as client:
            while not self._stop.is_set():
                content, headers = self._images[number % len(self._images)], {"content-type": "image/png"}
                headers["x-route-key"], began = f"{caller}-{number}", time.monotonic()
                try:
                    answer = client.post(f"{self.url}/predict", content=content, headers=headers)
                    self.seen.append((time.monotonic(), answer.status_code, _version(answer)))
                except httpx.HTTPError as error:
                    self.seen.append((time.monotonic(), type(error).__name__, None))
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                number += 1
                time.sleep(self._pause_s)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> Counter[int | str]:
        return Counter(status for _, status, _ in self.seen if status != 200)

    def versions(self, last: int = 20) -> set[int | None]:
        """Return the versions that gave the last answers."""
        return {version for _, _, version in self.seen[-last:]}


@contextmanager
def steady(
    url: str, what: str, images: Sequence[bytes] = IMAGES, callers: int = CALLERS, pause_s: float = PAUSE_S
) -> Iterator[Callers]:
    """Let callers ask while the block runs; none of their requests may fail."""
    asking, began = Callers(url, images, callers, pause_s), time.monotonic()
    try:
        until(lambda: len(asking.seen) > 20)
        yield asking
        time.sleep(1)
    finally:
        asking.stop()
    asked, took = len(asking.seen), time.monotonic() - began
    failed = dict(asking.failed) or 0
    print(f"{what}: {asked} requests in {took:.1f} s, failed: {failed}, the longest took {asking.longest_s:.1f} s")
    assert not asking.failed


def until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Wait until something is true and return the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience_s, "it did not come to that"
        time.sleep(0.05)
    return time.monotonic() - began


def _version(answer: httpx.Response) -> int | None:
    found: int | None = answer.json().get("version") if answer.status_code == 200 else None
    return found
