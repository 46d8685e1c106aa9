"""Plan: which version answers which request. Pure functions of the request's key, the same in every replica."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Kind = Literal["canary", "shadow"]


class Tried(BaseModel):
    """A version that is tried: what ``models/<name>/rollout.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Of this trial; its record has the same name."""
    version: PositiveInt
    alias: str
    """Endpoints that follow this alias try the version."""
    kind: Kind
    """canary: it answers a share of the requests. shadow: it is asked too, and its answers are compared and dropped."""
    share: float = Field(gt=0, le=1)
    """Of the requests."""
    bounds: Mapping[str, float] = {}
    """Fields of ``serve.rollout`` that were given for this trial; the others are the endpoint's own."""
    started: str
    """ISO 8601 in UTC."""


@dataclass(frozen=True)
class Plan:
    """Which versions of one model answer.

    Attributes:
        champion: the version that answers but for what is tried.
        tried: never of the champion's version.
        compared: share of a canary's requests that the champion answers too.
    """

    name: str
    champion: int
    tried: Tried | None = None
    compared: float = 0.0

    @property
    def versions(self) -> tuple[int, ...]:
        """All that must be loaded, the champion first."""
        return (self.champion, self.tried.version) if self.tried else (self.champion,)

    def version_for(self, route_key: str) -> int:
        """Return the version that answers a request.

        A key stays with its version; a larger share takes in more keys and keeps those that it had.
        """
        if self.tried and self.tried.kind == "canary" and self._drawn("route", route_key, self.tried.share):
            return self.tried.version
        return self.champion

    def other_for(self, version: int, request_id: str) -> int | None:
        """Return the version that a request is answered by too, for comparison, given the one that answered it."""
        if self.tried is None:
            return None
        if self.tried.kind == "shadow":
            drawn, other = self._drawn("shadow", request_id, self.tried.share), self.tried.version
        else:
            drawn, other = self._drawn("compare", request_id, self.compared), self.champion
        asked = version == (self.champion if self.tried.kind == "shadow" else self.tried.version)
        return other if asked and drawn else None

    def _drawn(self, what: str, key: str, share: float) -> bool:
        tried = self.tried.version if self.tried else 0
        digest = blake2b(f"{what} {self.name}/{tried} {key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < share * 2**64
