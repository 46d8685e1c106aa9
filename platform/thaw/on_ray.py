"""Joining a Ray cluster, or starting Ray on this machine: what every stage does first. And calls on it, in order."""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

import thaw
from thaw.console import say
from thaw.errors import ClusterError, ThawError
from thaw.room import on_ray as room
from thaw.room.slot import Slot, meets

T = TypeVar("T")

SUBMISSION = "THAW_SUBMISSION"
"""Variable that is the same for all jobs of one submission: those after the first find what it began."""
_SPARE_CPUS = 1
"""CPUs beside the training processes, so that decoding always has one to run on."""


@contextmanager
def cluster(cpus: float = 1.0, wait_s: float | None = None) -> Iterator[None]:
    """Join the cluster that ``RAY_ADDRESS`` names, or start Ray here, and leave it as it was found.

    Args:
        cpus: what the caller's own processes reserve; a Ray started here has room for them and for decoding.
        wait_s: most seconds to wait for a node that can do anything at all, where the cluster grows; None
            asks for none.

    Raises:
        ClusterError: the cluster does not answer, or no node of it has a CPU.
    """
    started = not ray.is_initialized()
    if started:
        _join() if os.environ.get("RAY_ADDRESS") else _start(cpus)
    try:
        if wait_s is not None:
            room.ensure("work on images", [Slot.of(cpus=1)], wait_s, "add a node, or start one with more CPUs")
        yield
    finally:
        if started:
            ray.shutdown()


def submission() -> str | None:
    """Return what all jobs of the submission have in common that this process belongs to, if it belongs to one."""
    return os.environ.get(SUBMISSION)


def in_order(calls: Iterable[Callable[[], "ray.ObjectRef[Any]"]], most: int) -> Iterator[Any]:
    """Yield what calls of remote functions come to, in order, with ``most`` of them under way.

    Raises:
        RayError: one failed; those under way are cancelled.
    """
    begun: deque[ray.ObjectRef[Any]] = deque()
    try:
        for call in calls:
            begun.append(call())
            if len(begun) > most:
                yield ray.get(begun.popleft())
        while begun:
            yield ray.get(begun.popleft())
    finally:
        for rest in begun:
            ray.cancel(rest)


@contextmanager
def plainly() -> Iterator[None]:
    """Raise what a user can mend as itself where it ended work on a node: Ray hands it over inside an error of its own.

    Raises:
        ThawError: what ended it.
        RayTaskError: anything else did.
    """
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ThawError):
            raise error.cause from None
        raise


def in_lanes(
    work: Callable[..., T], calls: Sequence[Sequence[Any]], lanes: int, **options: Any
) -> "list[ray.ObjectRef[T]]":
    """Begin some work for each of many arguments, without CPUs of its own, and return references in order.

    Each call of this function has so many under way, and no more: Ray would start all that ask for no CPU at once, each
    in a process with all its imports. What is lost with a node, Ray does again at once. One that fails, fails those
    that come after it in its lane.

    Args:
        calls: arguments; none of them is a reference.
        lanes: how many are under way.
        options: of Ray, such as on which nodes.
    """
    begin: Any = ray.remote(_worked).options(num_cpus=0, num_returns=2, name=work.__name__, **options)
    found, over = list[ray.ObjectRef[T]](), list[ray.ObjectRef[None]]()
    for place, given in enumerate(calls):
        done, end = begin.remote(work, given, over[place - lanes] if place >= lanes else None)
        found.append(done)
        over.append(end)
    return found


def _worked(work: Callable[..., T], given: Sequence[Any], _before: None) -> tuple[T, None]:
    """Work, once what was begun before is over: Ray waits for its result, and runs nothing of this until then."""
    return work(*given), None


def fitting_cpus(resources: Mapping[str, float], labels: Mapping[str, str]) -> float:
    """Return the CPUs of the nodes that have these resources and labels."""
    return _cpus(_fitting(resources, labels))


def _cpus(nodes: Iterable[Mapping[str, Any]]) -> float:
    return sum(float(node["Resources"].get("CPU", 0)) for node in nodes)


def _fitting(resources: Mapping[str, float], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
        and all(node["Resources"].get(name, 0) >= amount for name, amount in resources.items())
        and all(meets(node["Labels"].get(name), wanted) for name, wanted in labels.items())
    ]


def decoding_cpus(reserved: float, resources: Mapping[str, float], labels: Mapping[str, str]) -> float:
    """Return the CPUs of the nodes that have these resources and labels: of all nodes, those beside ``reserved`` ones.

    Raises:
        ClusterError: there is no such node, so decoding could never start and everything would wait for ever.
    """
    every, fitting = nodes(), _fitting(resources, labels)
    cpus = _cpus(fitting)
    if not cpus:
        asked = ", ".join(f"{name}: {value}" for name, value in {**resources, **labels}.items())
        raise ClusterError(
            f"train.decode: none of the {len(every)} node(s) has {asked or 'CPUs'}; start some with `ray start "
            "--labels` or `--resources`, or leave train.decode out"
        )
    return cpus if len(fitting) < len(every) else max(0.0, cpus - reserved)


def check_gpus(place: str, gpus: float, wait_s: float, processes: int = 1) -> None:
    """Refuse GPUs that a cluster neither has nor brings: Ray would wait for them for ever.

    Args:
        place: the setting that asks for them.
        gpus: that each process takes; 0 asks for none.
        wait_s: most seconds that a cluster which grows is given.

    Raises:
        ClusterError: there are too few.
    """
    if gpus:
        room.ensure(place, [Slot.of(gpus=gpus)] * processes, wait_s, "lower it, or add a node with GPUs")


def check_shared(root: str, place: str = "storage.root") -> None:
    """Refuse a relative path in a cluster: every process would take it for a folder of its own.

    Raises:
        ClusterError: it is relative and Ray runs on other machines too, as far as can be told.
    """
    joins = os.environ.get("RAY_ADDRESS") or os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
    if joins and "://" not in root and not Path(root).expanduser().is_absolute():
        raise ClusterError(
            f"{place}: {root!r} is relative to the folder of a job, which Ray deletes; give a path or URI that every "
            "node reaches, such as s3://bucket/thaw"
        )


def cores() -> int:
    """Return the cores that this process may use, which in a container are fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota()))


def _quota() -> int:
    """Return the whole CPUs that the control group grants, or a great many where it sets no limit."""
    try:
        granted, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, int(granted) // int(period))
    except (OSError, ValueError):
        return 1 << 16


def nodes() -> list[dict[str, float]]:
    """Return the resources of every node that is alive."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def num_cpus() -> float:
    """Return the CPUs of the cluster."""
    return float(_resources().get("CPU", 0))


def num_gpus() -> int:
    """Return the GPUs of the cluster."""
    return int(_resources().get("GPU", 0))


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _join() -> None:
    say(f"thaw {thaw.__version__} from {_package()} joins the Ray cluster at {os.environ['RAY_ADDRESS']}")
    try:
        ray.init(runtime_env=_runtime_env(), log_to_driver=_wants_logs(), logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: no Ray cluster can be joined there ({error}); give HOST:PORT of "
            "its head or `auto`, submit a job with `ray job submit`, or unset RAY_ADDRESS to run on this machine"
        ) from None


def _start(cpus: float) -> None:
    # Without this, a local Ray would turn token authentication on and leave a token in the home folder,
    # after which every other Ray command of this user fails until it is told of the token.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Else Ray Train starts a process with each run that asks whether nodes are to be taken away: this one is not.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    ray.init(
        address="local",
        num_cpus=max(cores(), int(cpus + _SPARE_CPUS + 0.999)),
        include_dashboard=False,
        log_to_driver=_wants_logs(),
        logging_level=logging.ERROR,
    )


def _wants_logs() -> bool:
    """Return whether workers' own output is shown too; errors always reach the driver as exceptions."""
    return os.environ.get("THAW_WORKER_LOGS", "") not in ("", "0")


def _runtime_env() -> dict[str, Any]:
    """Return what a job's workers need to import this very Thaw.

    A package installed in the image is there already. One that travelled in a job's working directory is on
    the driver's path alone, so it is sent on, unless the job says itself where packages are.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("runtime_env", {})
    says_where = "py_modules" in job or "PYTHONPATH" in job.get("env_vars", {})
    return {} if says_where or "site-packages" in _package().parts else {"py_modules": [str(_package())]}


def _package() -> Path:
    return Path(str(thaw.__file__)).resolve().parent
