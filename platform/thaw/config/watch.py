"""What an endpoint keeps of its answers, and who may ask it."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.parts import Section


class PredictionLog(Section):
    """Which answers are kept, to see later whether the world has changed and whether they were right."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the answers that are kept, drawn by request id; 0 keeps none."""
    image: Literal["none", "thumbnail", "full"] = "none"
    """thumbnail: a small JPEG of each image. full: the image as it was sent, so that `thaw prepare` can take it with
    what was said of it. Both may show people: ask before you keep them."""
    thumbnail: Annotated[int, Field(ge=16, le=1024)] = 160
    """Longer side of a thumbnail, in pixels."""
    embedding: bool = False
    """Keep what the backbone makes of each image, 2 bytes a number, by which `thaw drift` sees whether images have
    changed. Only a bundle gives it, not an artifact."""
    days: Annotated[int, Field(ge=1, le=3650)] = 30
    """After so many days what was kept is removed, and what was said of it."""


class Tls(Section):
    """What HTTPS needs; both files must be where the proxy of each node can read them."""

    cert: str
    """Path of the certificate with its chain, as PEM."""
    key: str
    """Path of its private key, as PEM, without a password."""
