"""The serving stage on Ray: one Ray Serve application that answers from one version of a model."""

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from thaw import on_ray, predictor
from thaw.backends.load import load
from thaw.config.serving import Serve
from thaw.console import say
from thaw.data import quality
from thaw.errors import ClusterError
from thaw.predictor import Answers
from thaw.registry import store
from thaw.registry.store import ModelVersion
from thaw.serving.api.app import build_app
from thaw.serving.api.contract import Answered, Asked, Facts, Refused, Seconds, facts_of
from thaw.storage import Root, open_root
from thaw.tasks.contract import Answer

APPLICATION = "thaw"
_PORTS_TRIED = 100


@serve.deployment(name="Endpoint")
@serve.ingress()
class Replica:
    """One process that holds the model: decodes in threads, answers waiting requests together."""

    def __init__(self, root: Root, found: ModelVersion, options: dict[str, Any], artifact: str | None = None) -> None:
        self.settings = Serve.model_validate(options)
        threads = max(1, on_ray.cores() // self.settings.replicas)
        torch.set_num_threads(threads)
        self.name, self._version, self._artifact = found.name, found.version, artifact
        self._network = load(root, found, artifact, "cuda" if self.settings.gpus else "cpu")
        self.answer_types: Mapping[str, type[Answer]] = {
            name: task.answer_type for name, task in self._network.tasks.items()
        }
        self._decoders = ThreadPoolExecutor(threads, "decode")
        self._forward = ThreadPoolExecutor(1, "forward")
        self._answer_together.set_max_batch_size(self.settings.max_batch)  # type: ignore[attr-defined]
        self._answer_together.set_batch_wait_timeout_s(self.settings.batch_wait_ms / 1000)  # type: ignore[attr-defined]
        self._warm_up()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(self)

    async def answer(self, asked: Asked) -> Answered:
        """Return every task's answer to one encoded image; decoding and the forward pass leave the event loop free."""
        self._check(asked.model, asked.version)
        here = asyncio.get_running_loop()
        began = time.monotonic()
        image = await here.run_in_executor(self._decoders, quality.decode, asked.content, self.settings.limits)
        decoded = time.monotonic()
        found, batch, infer = await self._answer_together(image)
        seconds = Seconds(decoded - began, time.monotonic() - decoded - infer, infer, batch)
        shown = await here.run_in_executor(self._decoders, predictor.as_json, found, asked.masks)
        return Answered(self.name, self._version, asked.request_id, shown, found, self._network.tasks, seconds)

    async def facts(self, name: str | None = None, version: int | None = None) -> Facts:
        """Return what the model says of itself."""
        self._check(name, version)
        return facts_of(self.name, self._version, self._network, self._artifact)

    def _check(self, name: str | None, version: int | None) -> None:
        if name not in (None, self.name) or version not in (None, self._version):
            raise Refused(404, "no_such_model", f"{self.name}/{self._version} alone answers here")

    @serve.batch
    async def _answer_together(self, images: list[NDArray[np.uint8]]) -> list[tuple[Answers, int, float]]:
        here = asyncio.get_running_loop()
        began = time.monotonic()
        found = await here.run_in_executor(self._forward, predictor.answer, self._network, images)
        return [(one, len(images), time.monotonic() - began) for one in found]

    def _warm_up(self) -> None:
        side = self._network.description.preprocess.size
        predictor.answer(self._network, [np.zeros((side, side, 3), np.uint8)])


@contextmanager
def endpoint(reference: str, storage_root: str, options: Serve, artifact: str | None = None) -> Iterator[str]:
    """Serve a model while the block runs, and give the URL it answers at.

    Args:
        reference: NAME, NAME@alias or NAME/version.
        artifact: name of one of its artifacts, to answer in its place.

    Raises:
        StorageError: there is no such model or artifact.
        ModelError: it cannot be run here, or answers otherwise than when it was made.
        ClusterError: no free port was found, Ray Serve runs already, or the cluster has too few GPUs.
    """
    root = open_root(storage_root)
    found = store.resolve(root, reference)
    load(root, found, artifact)  # what a replica refuses, Ray Serve would try again and again
    with on_ray.cluster(options.replicas):
        on_ray.check_gpus("serve.gpus", options.gpus * options.replicas)
        port = free_port(options.host, options.port)
        if port != options.port:
            say(f"port {options.port} is taken; using {port}")
        quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        if serve.status().proxies:
            raise ClusterError(
                "Ray Serve runs on this cluster already, and this would take its place; end it with `serve shutdown`, "
                "or serve from another cluster"
            )
        serve.start(http_options=HTTPOptions(host=options.host, port=port), logging_config=quiet)
        application = Replica.options(  # type: ignore[attr-defined]
            num_replicas=options.replicas,
            max_ongoing_requests=2 * options.max_batch,
            max_queued_requests=options.max_queued,
            logging_config=quiet,
            ray_actor_options={"num_gpus": options.gpus},
        ).bind(root, found, options.model_dump(mode="json"), artifact)
        try:
            serve.run(application, name=APPLICATION, route_prefix="/")
            shown = "127.0.0.1" if options.host == "0.0.0.0" else options.host  # noqa: S104 - compared, not bound
            say(f"{found.name}/{found.version} answers at http://{shown}:{port}")
            yield f"http://{shown}:{port}"
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]


def serve_until_stopped(reference: str, storage_root: str, options: Serve, artifact: str | None = None) -> None:
    """Serve a model, or one of its artifacts, until the process is interrupted or terminated."""
    stop = threading.Event()
    with endpoint(reference, storage_root, options, artifact):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()


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
