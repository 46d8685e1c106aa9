"""The doctor on Ray: every node is asked the same questions, by a process that Ray starts on it."""

import functools
import logging
import os
import secrets
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thaw import on_ray, storage
from thaw.backbones import family, weights
from thaw.config.experiment import Model
from thaw.console import say
from thaw.doctor import node as inside
from thaw.doctor import visit
from thaw.doctor.exchange.on_ray import exchange
from thaw.doctor.material import Material, Node
from thaw.doctor.node import Wanted
from thaw.doctor.selftest import on_ray as selftest
from thaw.doctor.selftest import trial
from thaw.doctor.selftest.trial import Bug
from thaw.errors import StorageError
from thaw.storage import Root, open_root

_ANSWER_S = 120
_HUBS = {"timm": os.environ.get("HF_ENDPOINT", "https://huggingface.co"), "torchvision": "https://download.pytorch.org"}


@dataclass(frozen=True)
class Question:
    """What is looked at beside the cluster itself.

    Attributes:
        root: the storage root; None leaves it out, and with it the self-test.
        model: whose weights are looked for; None leaves them out.
        training: whether the self-test is done.
    """

    root: str | None
    model: Model | None = None
    training: bool = True
    bug: Bug | None = None


def examine(question: Question) -> Material:
    """Look at the cluster that ``RAY_ADDRESS`` names, or at this machine, the quick things first.

    Raises:
        ClusterError: no cluster can be joined there.
        StorageError: the storage root is not one.
    """
    if question.root is not None:
        on_ray.check_shared(question.root)
    root = open_root(question.root) if question.root is not None else None
    with on_ray.cluster(1 if not question.training else 3):
        alive = [one for one in ray.nodes() if one["Alive"]]  # type: ignore[no-untyped-call]
        say(f"asking {len(alive)} node(s)")
        material = Material(
            here=inside.versions(),
            nodes=_seen(alive, question.model),
            storage=str(root) if root else None,
            stranger=_stranger(),
            weights=_weights(question.model)[0] if question.model else None,
        )
        if root:
            material = _visited(material, alive, root)
        say("summing a tensor over the nodes")
        gpus = all(one["Resources"].get("GPU", 0) >= 1 for one in alive) and _free("GPU") >= len(alive)
        found = exchange(alive, gpus)
        material = replace(material, alone=found) if isinstance(found, str) else replace(material, exchanged=found)
        return _trained(material, root, question)


def _seen(alive: Sequence[dict[str, Any]], model: Model | None) -> list[Node]:
    """Return every node as it is from inside."""
    places = _places(alive)
    wanted = _weights(model)[1] if model else None
    seen = _ask(alive, _look, wanted)
    ways = _ask(alive, inside.unreachable, places)
    names = _names(alive)
    found = []
    for name, node, answer, way, offset in zip(names, alive, seen, ways, _offsets(alive), strict=True):
        resources = node["Resources"]
        found.append(
            Node(
                name=name,
                gpus=resources.get("GPU", 0.0),
                object_store=int(resources.get("object_store_memory", 0)),
                seen=None if isinstance(answer, str) else answer,
                silence=answer if isinstance(answer, str) else "",
                offset_s=offset,
                unreachable=() if isinstance(way, str) else way,
            )
        )
    return found


def _look(wanted: Wanted | None) -> inside.Seen:
    folders = [ray.get_runtime_context().get_temp_dir(), tempfile.gettempdir(), str(storage.local_cache())]
    return inside.look(folders, wanted)


def _ask(alive: Sequence[dict[str, Any]], function: Callable[..., Any], *given: Any) -> list[Any]:
    """Return what a function comes to on each node, or in its place a text that says why it came to nothing."""
    task = ray.remote(function).options(num_cpus=0, max_retries=0)
    begun = [task.options(scheduling_strategy=_on(node)).remote(*given) for node in alive]
    done, _ = ray.wait(begun, num_returns=len(begun), timeout=_ANSWER_S)
    return [_answer(one) if one in done else _silent(one) for one in begun]


def _answer(one: "ray.ObjectRef[Any]") -> Any:
    try:
        return ray.get(one)
    except RayError as error:
        return str(error).strip().splitlines()[-1]


def _silent(one: "ray.ObjectRef[Any]") -> str:
    ray.cancel(one, force=True)
    return f"no answer in {_ANSWER_S} s"


def _on(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _names(alive: Sequence[dict[str, Any]]) -> list[str]:
    """Return the address of each node, with part of its id where others have the same."""
    addresses = [str(node["NodeManagerAddress"]) for node in alive]
    return [
        address if addresses.count(address) == 1 else f"{address}/{node['NodeID'][:6]}"
        for address, node in zip(addresses, alive, strict=True)
    ]


def _places(alive: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Return what every node has to reach: a name, a host and a port each."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    places = [("head", host, int(port))]
    for name, node in zip(_names(alive), alive, strict=True):
        for what, key in (("raylet", "NodeManagerPort"), ("object manager", "ObjectManagerPort")):
            places.append((f"{what} of {name}", str(node["NodeManagerAddress"]), int(node[key])))
    return places


def _offsets(alive: Sequence[dict[str, Any]]) -> list[float | None]:
    """Return how far each node's clock is ahead of this one, beyond what the way there and back leaves open."""
    task = ray.remote(time.time).options(num_cpus=0, max_retries=0)
    return [_offset(functools.partial(task.options(scheduling_strategy=_on(node)).remote)) for node in alive]


def _offset(ask: Callable[[], "ray.ObjectRef[float]"]) -> float | None:
    best: tuple[float, float] | None = None
    for _ in range(3):
        before = time.time()
        try:
            there = ray.get(ask(), timeout=_ANSWER_S)
        except RayError:
            return None
        after = time.time()
        one = ((after - before) / 2, there - (before + after) / 2)
        best = min(best, one) if best else one
    half, apart = best or (0.0, 0.0)
    return max(0.0, abs(apart) - half) * (1 if apart > 0 else -1)


def _stranger() -> int | None:
    """Return the status of the dashboard's answer to somebody without a token; None where there is no dashboard."""
    context = ray.init(ignore_reinit_error=True, logging_level=logging.ERROR)
    if not (url := getattr(context, "dashboard_url", None)):
        return None
    request = urllib.request.Request(f"http://{url.removeprefix('http://')}/api/jobs/")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _weights(model: Model) -> tuple[str, Wanted | None]:
    """Return which weights a model starts from, in words, and how to look for them."""
    chosen, name = model.weights, model.backbone
    match chosen.source:
        case "path":
            return f"model.weights.path of {name}", Wanted(path=chosen.path)
        case "package":
            module = weights.PACKAGES.get(name, (name.replace("/", "_"), ""))[0]
            return f"the package of {name}'s weights", Wanted(module=module)
        case "hub":
            return f"the hub of {name}'s weights", Wanted(url=_HUBS[family.of(name).LIBRARY])
    return f"{name} starts from random weights", None


def _visited(material: Material, alive: Sequence[dict[str, Any]], root: Root) -> Material:
    """Return the material with what each node could do in the storage root, which is left as it was found."""
    folder = f"doctor/{secrets.token_hex(6)}"
    try:
        root.write_bytes(f"{folder}/driver", b"driver")
    except StorageError as error:
        nodes = [replace(node, written=f"the driver: {error}") for node in material.nodes]
        return replace(material, nodes=nodes)
    try:
        came = _ask(alive, visit.come, root, folder)
        seen = [not isinstance(one, str) and root.exists(f"{folder}/{one.name}") for one in came]
        gone = [
            _ask([node], visit.go, root, folder, one.name)[0] if not isinstance(one, str) else one
            for node, one in zip(alive, came, strict=True)
        ]
    finally:
        root.remove(folder)
    nodes = []
    for node, one, there, left in zip(material.nodes, came, seen, gone, strict=True):
        refused = one if isinstance(one, str) else one.refusal or left
        shares = None if isinstance(one, str) else one.saw_driver and there
        nodes.append(replace(node, written=refused, shares=shares))
    return replace(material, nodes=nodes)


def _trained(material: Material, root: Root | None, question: Question) -> Material:
    """Return the material with the self-test, where there is a place and room for it."""
    if not question.training:
        return replace(material, untrained="left out (--no-training)")
    if root is None or any(node.written or node.shares is False for node in material.nodes):
        return replace(material, untrained="needs a storage root that all nodes share")
    sizes = trial.sizes(len(material.nodes), int(_free("GPU")), _free("CPU"))
    if 2 not in sizes:
        return replace(material, untrained=f"{_free('CPU'):g} CPUs are free; two workers and decoding take 2")
    folder = f"doctor/{secrets.token_hex(6)}"
    try:
        return replace(material, trained=selftest.train(root.at(folder), sizes, question.bug))
    finally:
        root.remove(folder)


def _free(resource: str) -> float:
    return float(ray.available_resources().get(resource, 0))  # type: ignore[no-untyped-call]
