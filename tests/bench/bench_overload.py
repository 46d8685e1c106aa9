"""How those fare who are answered while ten times as many ask as can be answered.

    python tests/bench/bench_overload.py [--proxies ray haproxy] [--callers 16] [--times 10] [--seconds 60]
        [--backbone tf_efficientnet_lite0] [--size 224] [--replicas 1] [--set NAME=VALUE ...]

For each proxy an endpoint of its own answers JPEGs of 640 x 480 by a model of three heads: first ``--callers`` of them
ask, each again as soon as it is answered, which is what normal means here. Then ``--times`` as many do, each again at
once when it is refused (``closed``), and then requests come at random moments, ``--times`` as many a second as were
answered at first (``open``). What is normal is measured before, between and after, for other work on the machine comes
and goes. The load generator (`load.py`) shares the cores with all of that, and tells what it took
(``load_cores``). Resident memory is that of the replicas and of the proxy, before, a quarter into, and at the end.

Lines with figures go to stderr; the last line of stdout is one JSON object: proxy -> ``normal``, ``closed`` and
``open``, each of the latter two with

    p99_overload_over_normal    p99 of those that were answered, by the normal p99 before and after
    accepted_rate_kept          answers a second by those before and after
    mib_growth                  resident memory at the end less that a quarter into
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from load import ask
from served import TASKS, endpoint, photographs, stored

from thaw import on_ray
from thaw.config.serving import Serve
from thaw.serving import deployed

sys.path.append(str(Path(__file__).parents[1]))
from apart import haproxy_places

WARM_S = 4.0
REST_S = 3.0


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--proxies", nargs="+", default=["ray", "haproxy"], choices=["ray", "haproxy"])
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the section serve")
    parser.add_argument("--one", action="store_true", help="in this process, which has the environment that is needed")
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(_one(options, _settings(options, options.proxies[0]), Path(place))))
    else:
        print(json.dumps({"cores": on_ray.cores(), **{proxy: _apart(options, proxy) for proxy in options.proxies}}))


def _apart(options: argparse.Namespace, proxy: str) -> dict[str, Any]:
    """Return what is measured of one proxy in a process of its own: Ray reads its environment once."""
    settings = _settings(options, proxy)
    with tempfile.TemporaryDirectory() as place:
        given = deployed.LOCAL | deployed.environment(settings) | haproxy_places(Path(place))
        command = [sys.executable, __file__, *sys.argv[1:], "--one", "--proxies", proxy]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=given | dict(os.environ))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _settings(options: argparse.Namespace, proxy: str) -> Serve:
    chosen = dict(one.split("=", 1) for one in options.set)
    return Serve.model_validate({"port": 8310, "replicas": options.replicas, "proxy": proxy, "auth": "none", **chosen})


def _one(options: argparse.Namespace, settings: Serve, place: Path) -> dict[str, Any]:
    images = photographs(place)
    reference = stored(place, options.backbone, options.size, "boards", tuple(TASKS))
    more = options.callers * options.times
    with endpoint(place, reference, settings) as url:
        ask(url, images, WARM_S, "--callers", "4")

        def measured(name: str, seconds: float, *how: str) -> dict[str, Any]:
            time.sleep(REST_S)
            return _measured(settings.proxy, name, url, images, seconds, *how)

        def undisturbed() -> dict[str, Any]:
            return measured("normal", options.seconds / 3, "--callers", str(options.callers))

        normal = [undisturbed()]
        found: dict[str, Any] = {"normal": normal}
        rate = str(normal[0]["per_s"] * options.times)
        for name, how in (("closed", ("--callers", str(more))), ("open", ("--rate", rate))):
            during = measured(name, options.seconds, *how)
            normal.append(undisturbed())
            found[name] = during | _ratios(normal[-2:], during)
    return found


def _ratios(around: list[dict[str, Any]], during: dict[str, Any]) -> dict[str, float | None]:
    """Return how an overload compares with what was normal before and after it, in the mean of the two."""
    p99, per_s = (statistics.mean(one[name] for one in around) for name in ("p99_ms", "per_s"))
    slower = during["p99_ms"] and round(during["p99_ms"] / p99, 2)
    return {"p99_overload_over_normal": slower, "accepted_rate_kept": round(during["per_s"] / per_s, 2)}


def _measured(proxy: str, name: str, url: str, images: Path, seconds: float, *how: str) -> dict[str, Any]:
    before, seen, stop = _memory(), [], threading.Event()

    def watch() -> None:
        while not stop.wait(1.0):
            seen.append(_memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        found = ask(url, images, seconds, *how)
    finally:
        stop.set()
        watching.join()
    quarter, last = seen[len(seen) // 4], seen[-1]
    cores = round(found.pop("cpu_s") / found.pop("seconds"), 3)
    memory = {"mib_before": before, "mib_quarter": quarter, "mib_end": last, "mib_growth": round(last - quarter, 1)}
    print(f"{proxy}, {name}: {json.dumps(found | memory)}", file=sys.stderr, flush=True)
    return {**found, "load_cores": cores, **memory}


def _memory() -> float:
    """Return the resident MiB of replicas and proxy."""
    import psutil

    total = 0
    for one in psutil.Process().children(recursive=True):
        try:
            line = " ".join(one.cmdline())
            total += one.memory_info().rss if any(name in line for name in _WATCHED) else 0
        except psutil.Error:
            continue
    return round(total / 2**20, 1)


_WATCHED = ("ServeReplica", "ProxyActor", "haproxy")


if __name__ == "__main__":
    main()
