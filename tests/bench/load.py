"""A load generator in a process of its own, which takes few cycles a request: it shares the cores with what it asks.

    python tests/bench/load.py URL FOLDER SECONDS (--callers N | --rate PER_SECOND) [--most CONNECTIONS]

Images of a folder are posted over kept connections. ``--callers``: so many ask, each again at once when it is told
anything, be it an answer or a refusal (a closed loop). ``--rate``: requests come at random moments, so many a second,
whatever becomes of those before (an open loop); one waits for a connection where ``--most`` are busy, and its latency
counts from when it came. The last line is one JSON object; ``cpu_s`` is what the generator itself took.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

_PATIENCE_S = 30
"""How long after the end what is under way is waited for."""


def ask(url: str, images: Path, seconds: float, *how: str) -> dict[str, Any]:
    """Return what the generator sees; ``how`` are its options."""
    command = [sys.executable, __file__, url, str(images), str(seconds), *how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Ask, and tell what came of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("images", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--callers", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--most", type=int, default=2000)
    options = parser.parse_args()
    print(json.dumps(uvloop.run(_run(options))))


@dataclass
class Seen:
    """What became of the requests."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    def note(self, status: int, head: bytes, seconds: float) -> None:
        if status == 200:
            self.answered.append(seconds)
        elif status == 503:
            self.refused.append(seconds)
            self.without_retry_after += b"retry-after:" not in head.lower()
        else:
            self.fail(str(status))

    def fail(self, why: str) -> None:
        self.failed[why] = self.failed.get(why, 0) + 1

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = {"answered": len(self.answered), **_percentiles(self.answered, "")}
        found |= {"refused": len(self.refused), "without_retry_after": self.without_retry_after}
        found |= _percentiles(self.refused, "refused_")
        return found | {"failed": sum(self.failed.values()), "failures": self.failed}


class Connection(asyncio.Protocol):
    """One kept connection: a request, its response, and what is to be done then."""

    def __init__(self, whole: "Load") -> None:
        self._whole, self._seen, self._began, self._busy = whole, bytearray(), 0.0, False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, body: bytes, came: float) -> None:
        self._began, self._busy = came, True
        self._seen.clear()
        assert self._transport is not None
        self._transport.write(body)

    def data_received(self, data: bytes) -> None:
        seen = self._seen
        seen += data
        end = seen.find(b"\r\n\r\n")
        if end < 0 or not _complete(seen, end):
            return
        head = bytes(seen[:end])
        self._busy = False
        self._whole.seen.note(int(head[9:12]), head, time.monotonic() - self._began)
        if b"connection: close" in head.lower():
            assert self._transport is not None
            self._transport.close()
        else:
            self._whole.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._whole.seen.fail("connection lost")
        self._whole.lost(self)


class Load:
    """All connections and what they are given to ask."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.seen, self._count = Seen(), 0
        at = urlsplit(options.url)
        self.host, self.port = at.hostname, at.port
        form = "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n"
        self._bodies = [
            form.format(at.path, at.netloc, len(content)).encode() + content
            for content in (file.read_bytes() for file in sorted(options.images.iterdir()))
        ]
        self._closed_loop, self._most = options.callers is not None, options.callers or options.most
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._open, self._opening = set[Connection](), set[asyncio.Task[None]]()
        self.ended = False

    @property
    def busy(self) -> bool:
        return len(self._idle) < len(self._open) or bool(self._opening)

    @property
    def unsent(self) -> int:
        """How many still wait for a connection."""
        return len(self._waiting)

    def want(self, came: float) -> None:
        """Ask once, with a connection that is idle, a new one, or the next that becomes idle."""
        if self._idle:
            self._send(self._idle.pop(), came)
            return
        self._waiting.append(came)
        if len(self._open) + len(self._opening) < self._most:
            self._connect()

    def free(self, one: Connection) -> None:
        """Give a connection its next request."""
        if self.ended:
            self._idle.append(one)
        elif self._closed_loop:
            self._send(one, time.monotonic())
        elif self._waiting:
            self._send(one, self._waiting.popleft())
        else:
            self._idle.append(one)

    def lost(self, one: Connection) -> None:
        self._open.discard(one)
        if one in self._idle:
            self._idle.remove(one)
        if not self.ended and (self._closed_loop or self._waiting):
            self._connect()

    def start(self) -> None:
        """Begin a closed loop."""
        for _ in range(self._most):
            self._connect()

    def _send(self, one: Connection, came: float) -> None:
        self._count += 1
        one.ask(self._bodies[self._count % len(self._bodies)], came)

    def _connect(self) -> None:
        task = asyncio.ensure_future(self._connected())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connected(self) -> None:
        try:
            _, one = await asyncio.get_running_loop().create_connection(lambda: Connection(self), self.host, self.port)
        except OSError as error:
            self.seen.fail(f"connecting: {type(error).__name__}")
            await asyncio.sleep(0.1)
            if self._closed_loop and not self.ended:
                self._connect()
            return
        self._open.add(one)
        self.free(one)


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    load, began = Load(options), time.monotonic()
    until = began + options.seconds
    if options.callers:
        load.start()
        await asyncio.sleep(options.seconds)
    else:
        chance, due = random.Random(0), began
        while due < until:
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            load.want(due)
            due += chance.expovariate(options.rate)
    load.ended, took, per_s = True, time.monotonic() - began, len(load.seen.answered) / (time.monotonic() - began)
    while load.busy and time.monotonic() < until + _PATIENCE_S:
        await asyncio.sleep(0.05)
    own = {"unsent": load.unsent, "stuck": load.busy, "cpu_s": time.process_time(), "seconds": took}
    return {"per_s": per_s, **load.seen.told(), **own}


def _complete(seen: bytearray, end: int) -> bool:
    head = bytes(seen[:end]).lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(seen) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
    return b"transfer-encoding" not in head or seen.endswith(b"0\r\n\r\n")


def _percentiles(seconds: list[float], name: str) -> dict[str, float | None]:
    ordered = sorted(seconds)
    return {
        f"{name}p{share}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1)
        if ordered
        else None
        for share in (50, 95, 99)
    }


if __name__ == "__main__":
    main()
