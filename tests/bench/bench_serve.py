"""What serving costs beside what is served: requests a second and latency, against others with the same model.

    python tests/bench/bench_serve.py [--backbone tf_efficientnet_lite0] [--size 224] [--seconds 4] [--replicas 1]
        [--servers NAME ...] [--proxy haproxy] [--rounds 3] [--alike] [--heads]

A load generator in a process of its own (`load.py`) sends JPEGs of 640 x 480 over kept connections, 1, 8, 64 and 256 at
a time, to Thaw (the bundle in fp32 and bf16, and an ONNX artifact in 8 bits), to LitServe (`lit_server.py`) and to
plain FastAPI under uvicorn (`plain_server.py`). All have the same bundle, the same cores and the same images, one
after the other. Thaw folds normalisations when it loads a bundle; with ``--alike`` the others have the folded network
too, so that servers alone are compared. Ray is started as `thaw serve` does it. The bare figure is a loop in a process
that decodes in threads and computes batches, without any server. Where a machine has other work, requests/s say as much
of it as of the servers; the processor's time of all of a server's processes for each answer says less of it.

Lines with figures go to stderr; the last line of stdout is one JSON object:

    thaw_vs_bare        largest requests/s of Thaw by images/s of the bare loop, both in fp32
    thaw_vs_uvicorn, thaw_vs_litserve  the worst ratio of requests/s at 8, 64 and 256 at a time, all in fp32
    overhead_ms         what Thaw adds to decoding and computing one image alone, in the median
    cpu_vs_bare, cpu_vs_uvicorn, cpu_vs_litserve  Thaw's processor time for each answer by theirs, at 8 at a time
    heads               with --heads: what three endpoints of one head each take to answer what one of three heads does,
                        by what that takes, in time (each having all cores) and in processor time
"""

import argparse
import http.client
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import load
import psutil
import torch
from served import IMAGES, TASKS, endpoint, photographs, stored
from taken import ALIKE, taken

from thaw import bundle, on_ray, predictor
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.serving import deployed

sys.path.append(str(Path(__file__).parents[1]))
from apart import haproxy_places

AT_ONCE = (1, 8, 64, 256)
_BATCHES, _BARE_S = (1, 4, 8, 16), 4.0
SERVERS = ("thaw", "uvicorn", "litserve", "thaw_bf16", "thaw_int8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="of all servers in turn, of which the medians count")
    parser.add_argument("--servers", nargs="*", help=f"these alone, of {', '.join(SERVERS)}")
    parser.add_argument("--proxy", choices=("ray", "haproxy"), default="ray", help="that Thaw is behind")
    parser.add_argument("--heads", action="store_true")
    parser.add_argument("--alike", action="store_true", help="all have the network that Thaw makes of the bundle")
    options = parser.parse_args()
    if options.alike:
        os.environ[ALIKE] = "1"
    settings = Serve(port=8300, replicas=options.replicas, proxy=options.proxy, auth="none")
    with tempfile.TemporaryDirectory() as place:
        given = deployed.LOCAL | deployed.environment(settings) | haproxy_places(Path(place))  # as `thaw serve` does
        for name, value in given.items():
            os.environ.setdefault(name, value)
        print(json.dumps(_all(options, settings, Path(place))))


def _all(options: argparse.Namespace, settings: Serve, place: Path) -> dict[str, Any]:
    photographs(place)
    reference = stored(place, options.backbone, options.size, "boards", tuple(TASKS))
    folder = place / "store" / "models" / reference
    told: dict[str, Any] = {"cores": on_ray.cores(), "size": options.size, "backbone": options.backbone}
    told["bare"] = bare = _bare(folder, place)
    _say("bare", f"{bare['images_per_s']:.1f} images/s in batches of {bare['batch']}, {bare['alone_ms']:.1f} ms alone")
    servers = options.servers or _known()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for name in list(servers) * options.rounds:
        with _begun(name, place, reference, settings) as url:
            _ask(url, place, 8, 1.0)
            rounds[name].append({str(at_once): _ask(url, place, at_once, options.seconds) for at_once in AT_ONCE})
            for at_once, one in rounds[name][-1].items():
                _say(f"{name}, {at_once} at a time", _line(one))
    told |= {
        name: {str(at_once): _middle(found, str(at_once)) for at_once in AT_ONCE} for name, found in rounds.items()
    }
    if options.heads:
        told["heads"] = _heads(place, options, settings)
    return told | _ratios(told)


def _middle(rounds: list[dict[str, Any]], at_once: str) -> dict[str, Any]:
    """Return what the round with the median of requests a second came to, with those of all."""
    found = sorted((one[at_once] for one in rounds), key=lambda one: float(one["per_s"]))
    return {**found[len(found) // 2], "rounds_per_s": [round(one[at_once]["per_s"], 1) for one in rounds]}


def _ratios(told: dict[str, Any]) -> dict[str, float]:
    if "thaw" not in told:
        return {}
    thaw = {at_once: one["per_s"] for at_once, one in told["thaw"].items()}
    found = {
        "thaw_vs_bare": max(thaw.values()) / told["bare"]["images_per_s"],
        "overhead_ms": told["thaw"]["1"]["p50_ms"] - told["bare"]["alone_ms"],
    }
    for other in ("uvicorn", "litserve"):
        if other in told:
            found[f"thaw_vs_{other}"] = min(thaw[key] / told[other][key]["per_s"] for key in thaw if key != "1")
            found[f"cpu_vs_{other}"] = told["thaw"]["8"]["cpu_ms"] / told[other]["8"]["cpu_ms"]
    found["cpu_vs_bare"] = told["thaw"]["8"]["cpu_ms"] / told["bare"]["cpu_ms"]
    return {name: round(value, 3) for name, value in found.items()}


def _known() -> list[str]:
    """Return the servers that can be measured here."""
    if importlib.util.find_spec("litserve"):
        return list(SERVERS)
    _say("litserve", "not measured: it is not installed (pip install litserve)")
    return [name for name in SERVERS if name != "litserve"]


def _begun(name: str, place: Path, reference: str, settings: Serve) -> AbstractContextManager[str]:
    """Return a server by its name; it gives the address that images are sent to."""
    folder = place / "store" / "models" / reference
    match name:
        case "thaw_bf16":
            return endpoint(place, reference, settings.model_copy(update={"precision": "bf16"}))
        case "thaw_int8":
            from exported import to_int8

            return endpoint(place, reference, settings, to_int8(place / "store", reference, place / "images"))
        case "uvicorn" | "litserve":
            return _server({"uvicorn": "plain_server.py", "litserve": "lit_server.py"}[name], folder)
    return endpoint(place, reference, settings)


def _heads(place: Path, options: argparse.Namespace, settings: Serve) -> dict[str, Any]:
    """Return what three endpoints of one head each cost beside one endpoint of three, asked for the same answers."""
    found = {"together": _one_endpoint(place, "boards/1", options.seconds, settings)}
    for name in TASKS:
        reference = stored(place, options.backbone, options.size, name, (name,))
        found[name] = _one_endpoint(place, reference, options.seconds, settings)
        _say(f"{name} alone", _line(found[name]))
    _say("all heads together", _line(found["together"]))
    return {
        "time_ratio": sum(1 / found[name]["per_s"] for name in TASKS) * found["together"]["per_s"],
        "cpu_ratio": sum(found[name]["cpu_ms"] for name in TASKS) / found["together"]["cpu_ms"],
        **found,
    }


def _one_endpoint(place: Path, reference: str, seconds: float, settings: Serve) -> dict[str, float]:
    with endpoint(place, reference, settings) as url:
        _ask(url, place, 8, 1.0)
        return _ask(url, place, 8, seconds)


def _bare(folder: Path, place: Path) -> dict[str, float]:
    """Return what decoding in threads and computing batches gives without a server, with the batch it likes best."""
    torch.set_num_threads(on_ray.cores())
    loaded = taken(folder)
    images = _images(place)
    preprocess = loaded.description.preprocess

    def placed(content: bytes) -> predictor.Placed:
        return predictor.place(preprocess, quality.decode(content, Limits()))

    def alone() -> float:
        began = time.perf_counter()
        predictor.answer_placed(loaded, [placed(images[0])])
        return time.perf_counter() - began

    alone_s = statistics.median(alone() for _ in range(15))
    found = max((_looped(placed, loaded, images, batch) for batch in _BATCHES), key=lambda one: one["images_per_s"])
    return {**found, "alone_ms": 1000 * alone_s}


def _looped(
    placed: Callable[[bytes], predictor.Placed], loaded: bundle.Bundle, images: list[bytes], batch: int
) -> dict[str, float]:
    with ThreadPoolExecutor(on_ray.cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        count, began, spent = 0, time.perf_counter(), time.process_time()
        ahead = [pool.submit(placed, images[place % IMAGES]) for place in range(2 * batch)]
        while time.perf_counter() - began < _BARE_S:
            ahead += [pool.submit(placed, images[place % IMAGES]) for place in range(batch)]
            predictor.answer_placed(loaded, [one.result() for one in ahead[:batch]])
            del ahead[:batch]
            count += batch
        took, spent = time.perf_counter() - began, time.process_time() - spent
        for one in ahead:
            one.cancel()
    return {"images_per_s": count / took, "batch": batch, "cpu_ms": 1000 * spent / count}


@contextmanager
def _server(file: str, folder: Path) -> Iterator[str]:
    """Run another server in a process of its own, until it has answered once."""
    port = _free_port()
    command = [sys.executable, str(Path(__file__).with_name(file)), str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(server, port)
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            for one in psutil.Process(server.pid).children(recursive=True):
                one.terminate()
            server.terminate()


def _ask(url: str, place: Path, at_once: int, seconds: float) -> dict[str, float]:
    """Return what a load generator in another process sees."""
    before = _spent()
    found = load.ask(url, place / "images", seconds, "--callers", str(at_once))
    return found | {"cpu_ms": 1000 * (_spent() - before) / max(1, found["answered"])}


def _spent() -> float:
    """Return the processor seconds of all processes below this one: those of a server, and of Ray's for Thaw."""
    times = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def _images(place: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((place / "images").iterdir())]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server answers whatever it is asked."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        if server.poll() is not None:
            sys.exit(f"{server.args} ended")
        with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asked:
            asked.request("GET", "/health")
            if asked.getresponse().status in (200, 404):  # LitServe has 503 there until its processes are ready
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing answers on port {port}")


def _line(one: dict[str, float]) -> str:
    spread = "".join(f"p{share} {one[f'p{share}_ms'] or float('nan'):.0f} ms, " for share in (50, 95, 99))
    return (
        f"{one['per_s']:.1f} requests/s, {spread}{one['cpu_ms']:.1f} ms of processors each, "
        f"{one['refused']:.0f} refused, {one['failed']:.0f} failed"
    )


def _say(what: str, line: str) -> None:
    print(f"{what}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
