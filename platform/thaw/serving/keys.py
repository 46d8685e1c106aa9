"""Keys: who may ask an endpoint, kept in the store as hashes alone, in ``serving/keys.json``.

A key is 32 random bytes, and SHA-256 is all that it needs: slow and salted hashes are for what people think up, which
can be guessed; nobody can try 2^256 keys, and a slow hash would delay every request. Hashes are compared in a time that
does not depend on how much of them is the same.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw import catalog, lock
from thaw.config.experiment import Name
from thaw.config.serving import Serve
from thaw.errors import ConfigError, StorageError
from thaw.serving import rate
from thaw.storage import Root

FILE = "serving/keys.json"
PREFIX = "thaw_"
"""How every key begins, so that scanners find those that were left in a repository."""

Scope = Literal["predict", "admin"]
"""predict: ask, and say what would have been right. admin: that, and change what answers (POST /admin/champion)."""

_BYTES = 32

_told = logging.getLogger("thaw.serving")


class Former(BaseModel):
    """A key that another one has taken the place of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    until: datetime
    """From when on it is refused."""


class Key(BaseModel):
    """What is known of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: Scope
    sha256: str
    created: datetime
    rate: str | None = Field(None, pattern=rate.PATTERN)
    """Most requests to each replica, such as 100/min; None for no bound."""
    former: Former | None = None

    def opens(self, digest: str, now: datetime) -> bool:
        """Return whether a key of this SHA-256 is this one, or the one before it while that is still good."""
        same = hmac.compare_digest(self.sha256, digest)
        before = self.former is not None and hmac.compare_digest(self.former.sha256, digest) and now < self.former.until
        return same or before


class Keys(BaseModel):
    """All keys, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    keys: dict[Name, Key] = {}

    def find(self, token: str, now: datetime) -> str | None:
        """Return the name of the key that a text is; None where it is none. All are looked at, whichever it is."""
        digest = _digest(token)
        found = [name for name, key in self.keys.items() if key.opens(digest, now)]
        return found[0] if found else None

    def changed(self, name: str, key: Key | None) -> Self:
        """Return the keys with one added or replaced, or without it."""
        others = {known: one for known, one in self.keys.items() if known != name}
        return self.model_copy(update={"keys": dict(sorted((others | ({name: key} if key else {})).items()))})


class Keyring:
    """The keys of a store as they were when it was last asked.

    Attributes:
        keys: replaced whole, so that any thread may look at them.
    """

    def __init__(self, root: Root) -> None:
        """Read the keys.

        Raises:
            StorageError: they cannot be read.
        """
        self._root = root
        self.keys = read(root)

    def refresh(self) -> None:
        """Read the keys again; where the store does not answer, those that are known stay good."""
        try:
            self.keys = read(self._root)
        except StorageError as error:
            _told.warning("keys: %s", error)


def check(settings: Serve, known: Keys) -> None:
    """Refuse to serve where keys are asked for and nobody has one.

    Raises:
        ConfigError: it is so.
    """
    if known.keys or not settings.asks_for_keys:
        return
    why = "serve.auth: keys are asked for" if settings.auth else f"serve.host: {settings.host} can be reached by others"
    raise ConfigError(f"{why}, and there is no key: make one with `thaw keys add NAME`, or set serve.auth to none")


def read(root: Root) -> Keys:
    """Return the keys of a store; none where none was ever made.

    Raises:
        StorageError: they cannot be read, or the file holds something else.
    """
    if not root.exists(FILE):
        return Keys()
    try:
        return Keys.model_validate_json(root.read_bytes(FILE))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StorageError(f"{root.shown(FILE)}: {place}: {first['msg']}; put back an earlier copy of it") from None


def add(root: Root, name: str, scope: Scope, limit: str | None = None) -> str:
    """Make a key and return it; it cannot be had again.

    Args:
        limit: most requests to each replica, such as ``100/min``.

    Raises:
        ConfigError: the name or the limit is not legal, or the name is taken.
    """
    token = _token()

    def added(keys: Keys) -> Keys:
        if name in keys.keys:
            raise ConfigError(
                f"key {name!r} exists; take another name, or give it a new secret with `thaw keys rotate`"
            )
        return keys.changed(name, Key(scope=scope, sha256=_digest(token), created=_now(), rate=limit))

    _change(root, added)
    return token


def rotate(root: Root, name: str, grace: timedelta) -> tuple[str, datetime]:
    """Give a key a new secret and return it, and until when the present one is good as well.

    Raises:
        ConfigError: there is no such key.
    """
    token, until = _token(), _now() + grace

    def rotated(keys: Keys) -> Keys:
        key = _known(keys, name)
        former = Former(sha256=key.sha256, until=until)
        return keys.changed(
            name, key.model_copy(update={"sha256": _digest(token), "created": _now(), "former": former})
        )

    _change(root, rotated)
    return token, until


def revoke(root: Root, name: str) -> None:
    """Remove a key and the one before it; endpoints refuse both once they have read the file again.

    Raises:
        ConfigError: there is no such key.
    """

    def revoked(keys: Keys) -> Keys:
        _known(keys, name)
        return keys.changed(name, None)

    _change(root, revoked)


def _change(root: Root, change: Callable[[Keys], Keys]) -> None:
    """Publish the keys as they are after a change, while nobody else changes them."""
    with lock.hold(root, FILE):
        try:
            changed = Keys.model_validate(change(read(root)).model_dump())
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{first['input']!r}: {first['msg']}") from None
        root.write_json(FILE, changed.model_dump(mode="json"))


def _known(keys: Keys, name: str) -> Key:
    if name not in keys.keys:
        hint = catalog.did_you_mean(name, keys.keys)
        raise ConfigError(f"no key {name!r}; the keys are {', '.join(keys.keys) or 'none'}{hint}")
    return keys.keys[name]


def _token() -> str:
    return PREFIX + secrets.token_urlsafe(_BYTES)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)
