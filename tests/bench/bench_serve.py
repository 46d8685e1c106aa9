"""What serving costs beside what is served: requests a second and latency, against others with the same model.

    python tests/bench/bench_serve.py [--backbone tf_efficientnet_lite0] [--size 224] [--seconds 4] [--replicas 1]
        [--servers NAME ...] [--heads]

A load generator in a process of its own sends JPEGs of 640 x 480 over kept connections, 1, 8, 64 and 256 at a time, to
Thaw (the bundle in fp32 and in bf16), to a plain FastAPI application under uvicorn that decodes and computes one image
after another in threads. All have the same
weights, the same cores and the same images, and take turns, so that what else runs on the machine meets all. Ray gives
its workers a niceness of 15, which is set to 0 here as `thaw serve` does. The bare figure is a loop in one process that
decodes in threads and computes batches, without any server.

Lines with figures go to stderr; the last line of stdout is one JSON object:

    thaw_vs_bare        largest requests/s of Thaw by images/s of the bare loop, both in fp32
    thaw_vs_uvicorn     the worst ratio of requests/s at 8, 64 and 256 at a time
    overhead_ms         what Thaw adds to decoding and computing one image alone, in the median
    heads               with --heads: requests/s of three endpoints of one head each by those of one with three
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from served import IMAGES, TASKS, endpoint, photographs, stored

from thaw import bundle, on_ray, predictor
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.serving import deployed
from thaw.serving.batcher import best_batch, measured
from thaw.serving.loaded import _answer_blanks

AT_ONCE = (1, 8, 64, 256)


def main() -> None:
    """Run what is asked for."""
    if sys.argv[1:2] in (["load"], ["plain"]):
        {"load": _load, "plain": _plain}[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--servers", nargs="*", help="these alone, of thaw, uvicorn and thaw_bf16")
    parser.add_argument("--heads", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(_all(options, Path(place))))


def _all(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    photographs(place)
    reference = stored(place, options.backbone, options.size, "boards", tuple(TASKS))
    folder = place / "store" / "models" / reference
    told: dict[str, Any] = {"cores": on_ray.cores(), "size": options.size, "backbone": options.backbone}
    told["bare"] = bare = _bare(folder, place)
    _say("bare", f"{bare['images_per_s']:.1f} images/s in batches of {bare['batch']}, {bare['alone_ms']:.1f} ms alone")
    fp32 = Serve(port=8300, replicas=options.replicas)
    served = {"thaw": lambda: endpoint(place, reference, fp32), "uvicorn": lambda: _server("plain", folder, 1)}
    served["thaw_bf16"] = lambda: endpoint(place, reference, fp32.model_copy(update={"precision": "bf16"}))
    for name, begin in served.items():
        if options.servers and name not in options.servers:
            continue
        with begin() as url:
            _ask(url, place, 8, 1.0)
            told[name] = {str(at_once): _ask(url, place, at_once, options.seconds) for at_once in AT_ONCE}
            for at_once, one in told[name].items():
                _say(f"{name}, {at_once} at a time", _line(one))
    if options.heads:
        told["heads"] = _heads(place, options)
    return told | _ratios(told)


def _ratios(told: dict[str, Any]) -> dict[str, float]:
    if "thaw" not in told:
        return {}
    thaw = {at_once: one["per_s"] for at_once, one in told["thaw"].items()}
    found = {
        "thaw_vs_bare": max(thaw.values()) / told["bare"]["images_per_s"],
        "overhead_ms": told["thaw"]["1"]["p50_ms"] - told["bare"]["alone_ms"],
    }
    for other in ("uvicorn",):
        if other in told:
            found[f"thaw_vs_{other}"] = min(thaw[key] / told[other][key]["per_s"] for key in thaw if key != "1")
    return {name: round(value, 3) for name, value in found.items()}


def _heads(place: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return what three endpoints of one head each give beside one endpoint of three, asked for the same answers."""
    settings = Serve(port=8300, models=("tags", "grade"))
    for name in TASKS:
        stored(place, options.backbone, options.size, name, (name,))
    with endpoint(place, "boards/1", settings) as url:
        together = _ask(url, place, 8, options.seconds)["per_s"]
    with endpoint(place, "verdict/1", settings) as url:
        alone = _ask(url, place, 8, options.seconds)["per_s"]
    return {"cost_ratio": 3 * together / alone, "together_per_s": together, "one_head_per_s": alone}


def _bare(folder: Path, place: Path) -> dict[str, float]:
    """Return what decoding in threads and computing batches gives without a server."""
    torch.set_num_threads(on_ray.cores())
    loaded = bundle.load(folder)
    images = _images(place)
    batch = best_batch(measured(lambda size: _answer_blanks(loaded, size), 16))
    preprocess = loaded.description.preprocess

    def placed(content: bytes) -> predictor.Placed:
        return predictor.place(preprocess, quality.decode(content, Limits()))

    def alone() -> float:
        began = time.perf_counter()
        predictor.answer_placed(loaded, [placed(images[0])])
        return time.perf_counter() - began

    alone_s = statistics.median(alone() for _ in range(15))
    with ThreadPoolExecutor(on_ray.cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        count, began = 0, time.perf_counter()
        ahead = [pool.submit(placed, images[place % IMAGES]) for place in range(2 * batch)]
        while time.perf_counter() - began < 6:
            ahead += [pool.submit(placed, images[place % IMAGES]) for place in range(batch)]
            predictor.answer_placed(loaded, [one.result() for one in ahead[:batch]])
            del ahead[:batch]
            count += batch
        took = time.perf_counter() - began
        for one in ahead:
            one.cancel()
    return {"images_per_s": count / took, "batch": batch, "alone_ms": 1000 * alone_s}


@contextmanager
def _server(kind: str, folder: Path, batch: float) -> Iterator[str]:
    """Run another server in a process of its own."""
    port = _free_port()
    command = [sys.executable, __file__, kind, str(folder), str(port), str(int(batch))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            server.terminate()


def _plain(folder: str, port: str, _batch: str) -> None:
    """Serve as tutorials do: decode and compute each image in a thread of FastAPI's pool."""
    import uvicorn
    from fastapi import FastAPI, Request
    from starlette.concurrency import run_in_threadpool

    loaded, app = bundle.load(Path(folder)), FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(_one, loaded, await request.body())

    uvicorn.run(app, port=int(port), log_level="error")


def _one(loaded: bundle.Bundle, content: bytes) -> dict[str, Any]:
    return predictor.as_json(predictor.answer(loaded, [quality.decode(content, Limits())])[0])


def _ask(url: str, place: Path, at_once: int, seconds: float) -> dict[str, float]:
    """Return what a load generator in another process sees."""
    command = [sys.executable, __file__, "load", url, str(place / "images"), str(at_once), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _load(url: str, images: str, at_once: str, seconds: str) -> None:
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    bodies = [
        b"POST /%s HTTP/1.1\r\nhost: %s\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n%s"
        % (path.encode(), host.encode(), len(content), content)
        for content in _images(Path(images).parent)
    ]
    print(json.dumps(asyncio.run(_loaded(name, int(port), bodies, int(at_once), float(seconds)))))


async def _loaded(host: str, port: int, bodies: list[bytes], at_once: int, seconds: float) -> dict[str, float]:
    until = time.monotonic() + seconds
    took: list[float] = []
    statuses: list[int] = []

    async def caller(own: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        count = own
        while time.monotonic() < until:
            began = time.monotonic()
            writer.write(bodies[count % len(bodies)])
            status = await _response(reader)
            statuses.append(status)
            if status == 200:
                took.append(time.monotonic() - began)
            count += 1
        writer.close()

    began = time.monotonic()
    ended = await asyncio.gather(*(caller(own) for own in range(at_once)), return_exceptions=True)
    spent = time.monotonic() - began
    broken = sum(isinstance(one, BaseException) for one in ended)
    ordered = sorted(took) or [float("inf")]
    at = {f"p{share}_ms": 1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 95, 99)}
    refused = statuses.count(503)
    other = len(statuses) - len(took) - refused + broken
    return {"per_s": len(took) / spent, **at, "answered": len(took), "refused": refused, "other": other}


async def _response(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
    else:
        while size := int((await reader.readline()).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    return int(head.split(" ", 2)[1])


def _images(place: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((place / "images").iterdir())]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def _line(one: dict[str, float]) -> str:
    return (
        f"{one['per_s']:.1f} requests/s, p50 {one['p50_ms']:.0f} ms, p95 {one['p95_ms']:.0f} ms, "
        f"p99 {one['p99_ms']:.0f} ms, {one['refused']:.0f} refused, {one['other']:.0f} failed"
    )


def _say(what: str, line: str) -> None:
    print(f"{what}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for name, value in deployed.LOCAL.items():
        os.environ.setdefault(name, value)
    main()
