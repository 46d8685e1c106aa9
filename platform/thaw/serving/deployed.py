"""Deployed: the file that `serve deploy`, or a RayService of KubeRay, makes an endpoint of."""

import json
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from thaw.config.serving import Serve
from thaw.serving import haproxy
from thaw.serving.gate import gate

APPLICATION = "thaw"
"""Name of the application on Ray Serve."""
BUILDER = "thaw.serving.on_ray:build"
"""What Ray Serve calls with the file's ``args``."""


class Arguments(BaseModel):
    """What the application is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    storage: str
    artifact: str | None = None
    serve: Serve = Serve()


def written(arguments: Arguments) -> str:
    """Return the file's text: YAML."""
    settings = arguments.serve
    options = settings.model_dump(mode="json", exclude_defaults=True, exclude={"host", "port", "proxy", "tls"})
    args: dict[str, Any] = {"model": arguments.model, "storage": arguments.storage}
    args |= {"artifact": arguments.artifact} if arguments.artifact else {}
    args["serve"] = {**options, "auth": "keys" if settings.asks_for_keys else "none"}  # the host decides no more
    application = {"name": APPLICATION, "route_prefix": "/", "import_path": BUILDER, "args": args}
    whole = {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.host, "port": settings.port, **https(settings)},
        "applications": [application],
    }
    lines = [f"# {arguments.model} over HTTP: `serve deploy FILE`, or serveConfigV2 of a RayService."]
    lines += [f"# {line}" for line in _notes(settings)]
    return "\n".join([*lines, yaml.safe_dump(whole, sort_keys=False)])


def https(settings: Serve) -> dict[str, str]:
    """Return what Ray Serve's proxy is told of TLS."""
    return {"ssl_certfile": settings.tls.cert, "ssl_keyfile": settings.tls.key} if settings.tls else {}


def _notes(settings: Serve) -> list[str]:
    """Return what whoever deploys the file must see to; the variables are written as a pod's ``env`` has them."""
    told = [f"- {{name: {name}, value: {json.dumps(value)}}}" for name, value in environment(settings).items()]
    return [
        "Every node needs thaw-vision, and reaches the storage. Start Ray on every node with this in its environment;",
        "without it, requests that are too many wear the endpoint out:",
        *told,
    ]


LOCAL = {"RAY_worker_niceness": "0", "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
"""Variables for a Ray that is started to serve: its workers claim the processor as other programs do, for it gives them
a niceness of 15 otherwise, and requests are spared a second event loop, which guards against code that blocks."""


def environment(settings: Serve) -> dict[str, str]:
    """Return the variables with which Ray must be started for what settings ask of its proxy."""
    if settings.proxy == "haproxy":
        return haproxy.environment(settings)
    return {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": gate.CALLBACK,
        gate.VARIABLE: str(settings.max_queued * settings.most_replicas),
    }
