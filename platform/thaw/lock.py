"""Lock: one holder of a path at a time, on any storage root, by files and listings alone.

No server and no file locks: object stores have none. What may be locked, and why, is its callers' business.
"""

import contextlib
import os
import random
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from thaw.errors import StorageError
from thaw.storage import Root, inside

_POLL_S = 0.05
_MAX_PAUSE_S = 1.0


@contextlib.contextmanager
def hold(root: Root, path: str, timeout_s: float = 60.0, stale_s: float = 300.0) -> Iterator[None]:
    """Hold ``path`` for the block: no two holders at a time, in any process on any machine.

    Needs only that a listing shows every file whose writing ended before the listing began, and none
    removed before: S3, Google Cloud Storage and local disks do; NFS with cached listings does not.

    Whoever wants the lock writes a claim, ``<path>.claim-<random>``, and *then* lists the claims. It
    holds the lock once a listing shows its own claim alone, and removes the claim to let go.

    Two cannot hold at once. Say A's deciding listing began no later than B's. A's claim was whole
    before that listing and stands until A lets go. So if B listed before A let go, B saw A's claim
    and did not hold. Of two claimers at the same instant each lists after its own write, so whichever
    wrote last sees both: perhaps both see both and neither holds, never each only itself.

    Somebody gets on. Among claims that see each other, the first by name stays and waits and all others
    are withdrawn, to come back after a random pause that doubles. Waiting, like any other policy here,
    cannot break exclusion: holding still takes a listing with one's own claim alone.

    A claim whose owner died is removed by the next claimer once it is ``stale_s`` old on the store's own
    clock, read off the claimer's own fresh claim in the same listing. A claim wins only in the first
    half of that age and is renewed after it, so a holder has at least ``stale_s / 2`` before anyone
    may think it dead. The block must be shorter than that; nothing else guards a holder that stalls.

    Args:
        path: what is locked, relative to the root; it need not exist.
        timeout_s: how long to wait for the lock.
        stale_s: age from which a claim is taken for abandoned; some seconds at least, since S3 tells
            time in whole seconds.

    Raises:
        StorageError: the lock was not had in time; the message says which claims to remove by hand.
    """
    claims = _Claims(root, inside(path), timeout_s, stale_s)
    claim = claims.win()
    try:
        yield
    finally:
        root.remove(claim)


@dataclass(frozen=True)
class _Claims:
    """The claims on one path; see `hold` for why they exclude each other."""

    root: Root
    path: str
    timeout_s: float
    stale_s: float

    def win(self) -> str:
        """Return the path of one's own claim, once it stands alone."""
        deadline = time.monotonic() + self.timeout_s
        pause = _POLL_S
        while True:
            claim = f"{self.path}.claim-{uuid.uuid4().hex}"
            won = False
            try:
                won = self._stands_alone(claim, deadline)
            finally:
                if not won:
                    self.root.remove(claim)
            if won:
                return claim
            if time.monotonic() >= deadline:
                raise StorageError(self._refusal())
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _MAX_PAUSE_S)

    def _stands_alone(self, claim: str, deadline: float) -> bool:
        """Write ``claim`` and return whether it came to stand alone; False once another one goes first."""
        renew = time.monotonic() + self.stale_s / 2
        self.root.write_bytes(claim, f"{socket.gethostname()} pid {os.getpid()}\n".encode())
        written = time.monotonic()
        while True:
            standing = self._standing(claim, written)
            if claim not in standing or time.monotonic() >= renew:
                return False
            if standing == [claim]:
                return True
            if standing[0] != claim or time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)

    def _standing(self, claim: str, written: float) -> list[str]:
        """Return the sorted claims, after removing the abandoned ones; none when ``claim`` itself is gone."""
        mtimes = self._mtimes()
        if claim not in mtimes:
            return []
        now = mtimes[claim] + time.monotonic() - written
        stale = {other for other, mtime in mtimes.items() if other != claim and now - mtime > self.stale_s}
        for other in stale:
            self.root.remove(other)
        return sorted(mtimes.keys() - stale)

    def _mtimes(self) -> dict[str, float]:
        """Return when each claim was written, in seconds on the store's clock."""
        folder, slash, name = self.path.rpartition("/")
        return {
            f"{folder}{slash}{child.base_name}": child.mtime.timestamp()
            for child in self.root.children(folder)
            if child.base_name.startswith(f"{name}.claim-")
        }

    def _refusal(self) -> str:
        claims = ", ".join(self.root.shown(claim) for claim in sorted(self._mtimes())) or "claims now gone"
        return (
            f"{self.root.shown(self.path)}: locked by others for {self.timeout_s:g} s: {claims}. Try again. "
            f"If no other command is at work, remove these claims by hand, or wait: the next command clears "
            f"those older than {self.stale_s:g} s"
        )
