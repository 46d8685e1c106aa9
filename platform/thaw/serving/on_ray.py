"""The serving stage on Ray: one Ray Serve application that answers from one version of a model."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from thaw import on_ray
from thaw.backends.load import load
from thaw.config.serving import Serve
from thaw.console import say
from thaw.errors import ClusterError, ConfigError
from thaw.registry import store
from thaw.serving import keys
from thaw.serving.api.app import build_app
from thaw.serving.deployed import APPLICATION, Arguments, environment, https
from thaw.serving.guarding import Guarding
from thaw.serving.loaded import Key
from thaw.serving.rollout.following import Following, begun
from thaw.serving.rollout.on_ray import Controller, Link
from thaw.serving.watch.metrics import Metrics
from thaw.storage import Root, open_root

_PORTS_TRIED = 100
_QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")
_ANSWERS_S = 120.0
"""Most seconds that an endpoint which runs already is given to say whose it is; its replicas may be on their way."""
_ONGOING = 4
"""Requests that Ray lets into a replica for each one that it has room for."""


@serve.deployment(name="Endpoint")
@serve.ingress()
class Replica:
    """One process that answers over HTTP."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        root: Root,
        options: dict[str, Any],
        key: Key,
        alias: str | None,
        controller: DeploymentHandle[Any],
        submission: str | None,
    ) -> None:
        settings = Serve.model_validate(options)
        self._begun_by = (submission, settings.port)
        answering = begun(root, settings, key, alias, max(1, on_ray.cores() // settings.most_replicas))
        counted = Metrics()
        self._following = Following(answering, counted)
        self._link = Link(controller, self._following, counted, settings.follow_seconds / 2)
        self._guarding = Guarding.of(root, settings, key.name, counted, alias)

    def __serve_build_asgi_app__(self) -> FastAPI:
        kept = self._guarding
        return build_app(kept.watched(self._following), kept.keyring, kept.keep, self._link, kept.promote)

    def begun_by(self) -> tuple[str | None, int]:
        """Return the submission that began this endpoint, and the port that was free for it."""
        return self._begun_by

    def __del__(self) -> None:
        if hasattr(self, "_guarding"):  # Ray Serve calls this when it takes a replica away in peace
            self._guarding.close()


def build(arguments: Arguments) -> Application:
    """Return the application that answers for a model; Ray Serve calls this with what a config file says.

    Where it will listen is said elsewhere in the file: whoever asks shows a key, unless it is said that nobody has to.

    Raises:
        StorageError: there is no such model.
        ConfigError: keys are asked for, and there is none.
    """
    chosen = arguments.serve.model_copy(update={"auth": arguments.serve.auth or "keys"})
    return _built(arguments.model_copy(update={"serve": chosen}), None)


def _built(arguments: Arguments, submission: str | None) -> Application:
    """Return the application, which ``submission``'s later jobs find again."""
    options = arguments.serve
    root = open_root(arguments.storage)
    found = store.resolve(root, arguments.model)
    keys.check(options, keys.read(root))
    key = Key(found.name, found.version, arguments.artifact)
    chosen: dict[str, Any] = {"num_replicas": options.replicas}
    if options.autoscale:
        scale = options.autoscale
        chosen = {
            "autoscaling_config": {
                "min_replicas": scale.min,
                "max_replicas": scale.max,
                "target_ongoing_requests": scale.target,
            }
        }
    alias = store.alias_in(arguments.model)
    controller = Controller.options(logging_config=_QUIET).bind(  # type: ignore[attr-defined]
        root, found.name, alias, options.rollout.model_dump(mode="json"), options.follow_seconds / 2
    )
    made: Application = Replica.options(  # type: ignore[attr-defined]
        **chosen,
        # Replicas themselves refuse what is too much, with a Retry-After; Ray holds back only what is far beyond.
        max_ongoing_requests=_ONGOING * (options.max_queued + options.max_batch),
        max_queued_requests=options.max_queued,
        logging_config=_QUIET,
        ray_actor_options={"num_gpus": options.gpus},
    ).bind(root, options.model_dump(mode="json"), key, alias, controller, submission)
    return made


@contextmanager
def endpoint(
    reference: str, storage_root: str, options: Serve, artifact: str | None = None, wait_s: float = 0.0
) -> Iterator[str]:
    """Serve a model while the block runs, and give the URL it answers at.

    Args:
        reference: NAME, NAME@alias or NAME/version.
        artifact: name of one of its artifacts, to answer in its place.
        wait_s: most seconds that a cluster which grows is given to bring nodes.

    Raises:
        StorageError: there is no such model or artifact.
        ConfigError: keys are asked for and there is none, or a file of TLS is not there.
        ModelError: it cannot be run here, or answers otherwise than when it was made.
        ClusterError: no free port was found, Ray Serve runs already, or the cluster has too few GPUs.
    """
    _check_proxy(options)
    root = open_root(storage_root)
    found = store.resolve(root, reference)
    keys.check(options, keys.read(root))
    secure = _checked_https(options)
    load(root, found, artifact)  # what a replica refuses, Ray Serve would try again and again
    with on_ray.cluster(options.most_replicas, wait_s):
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        port = _port_of_earlier_try()
        if port is None:
            fewest = options.autoscale.min if options.autoscale else options.replicas
            on_ray.check_gpus("serve.gpus", options.gpus, wait_s, fewest)
            port = free_port(options.host, options.port)
            if port != options.port:
                say(f"port {options.port} is taken; using {port}")
            chosen = options.model_copy(update={"port": port})
            given = Arguments(model=reference, storage=storage_root, artifact=artifact, serve=chosen)
            application = _built(given, on_ray.submission())
            serve.start(http_options=HTTPOptions(host=options.host, port=port, **secure), logging_config=_QUIET)
        else:
            application = None
            say("an earlier try of this job began the endpoint, and it goes on")
        try:
            if application:
                serve.run(application, name=APPLICATION, route_prefix="/")
            shown = "127.0.0.1" if options.host == "0.0.0.0" else options.host  # noqa: S104 - compared, not bound
            url = f"{'https' if secure else 'http'}://{shown}:{port}"
            what = f"{found.name}/{found.version}" if application else reference
            say(f"{what} answers at {url}{' to whoever shows a key' * options.asks_for_keys}")
            yield url
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]


def serve_until_stopped(
    reference: str, storage_root: str, options: Serve, artifact: str | None = None, wait_s: float = 0.0
) -> None:
    """Serve a model, or one of its artifacts, until the process is interrupted or terminated; see `endpoint`."""
    stop = threading.Event()
    with endpoint(reference, storage_root, options, artifact, wait_s):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()


def _port_of_earlier_try() -> int | None:
    """Return the port of an endpoint that an earlier try of this job began, and which outlived it; None without any.

    Raises:
        ClusterError: Ray Serve runs, and for somebody else, or nothing answers there that says for whom.
    """
    status = serve.status()
    if not status.proxies:
        return None
    if APPLICATION in status.applications and (own := on_ray.submission()):
        with suppress(TimeoutError, RayError, RayServeException):
            asked = serve.get_app_handle(APPLICATION).begun_by.remote()
            submission, port = asked.result(timeout_s=_ANSWERS_S)
            if submission == own:
                return int(port)
    raise ClusterError(
        "Ray Serve runs on this cluster already, and this would take its place; end it with `serve shutdown`, or serve "
        "from another cluster"
    )


def _checked_https(options: Serve) -> dict[str, str]:
    """Return what Ray Serve's proxy is told of TLS.

    Raises:
        ConfigError: a file is not there.
    """
    for path in https(options).values():
        if not Path(path).is_file():
            raise ConfigError(f"serve.tls: {path}: no such file; it must be on every node that takes requests")
    return https(options)


def _check_proxy(options: Serve) -> None:
    """Refuse what Ray's environment does not allow: it is read when Ray is imported and started.

    Raises:
        ClusterError: HAProxy is asked for, and this process was not started for it.
    """
    lacking = [name for name in environment(options) if name not in os.environ]
    if not lacking:
        return
    told = (
        f"start Ray on every node, and this command, with what `thaw serve --write-config` says: {', '.join(lacking)}"
    )
    if options.proxy == "haproxy":
        raise ClusterError(f"serve.proxy: haproxy: {told}")
    say(f"requests that are too many will wear Ray's proxy out; {told}")


def free_port(host: str, first: int) -> int:
    """Return the first port from ``first`` that nobody listens on.

    Raises:
        ClusterError: a hundred ports in a row are taken.
    """
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((host, port))
            except OSError:
                continue
            return port
    raise ClusterError(
        f"serve.port: {first} and the {_PORTS_TRIED} ports after it are taken or cannot be bound on {host}"
    )
