"""Serve: how a model answers over HTTP."""

from typing import Annotated

from pydantic import Field, PositiveInt

from thaw.config.limits import Limits
from thaw.config.parts import Section


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
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most images in one forward pass."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """How long a request waits for others to share its forward pass, in milliseconds."""
    max_queued: PositiveInt = 128
    """Requests that may wait; beyond it the answer is 503."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Most seconds from a request to its answer; a request that cannot be answered by then is not computed. A request
    may ask for less by the header x-deadline-ms."""
    max_images: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most images in one request."""
    limits: Limits = Limits(max_bytes=16 * 2**20, max_pixels=50_000_000)
    """What is refused of an image; all images of a request together may have as many bytes as one."""
