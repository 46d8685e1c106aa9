"""An all-reduce between all nodes, one process each: gloo, or NCCL where every node has a GPU to spare."""

import datetime
import socket
import statistics
import time
from collections.abc import Mapping, Sequence

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import distributed

from thaw.doctor.material import Exchanged

SIZES = (1024, 16 * 2**20)
"""Bytes: what an exchange costs whatever its size, and one of the pieces that DDP exchanges."""
_WARM, _TIMED = 2, 5
_MEET_S = 60


def exchange(nodes: Sequence[Mapping[str, object]], gpus: bool) -> Exchanged | str:
    """Return how long it took, or why it came to nothing.

    Args:
        nodes: as Ray tells of them.
        gpus: whether each has a GPU to spare.
    """
    if len(nodes) < 2:
        return "one node: nothing to exchange"
    backend = "nccl" if gpus else "gloo"
    places = [NodeAffinitySchedulingStrategy(str(node["NodeID"]), soft=False) for node in nodes]
    begun: list[ray.ObjectRef[dict[int, float]]] = []
    try:
        port = ray.get(
            ray.remote(_free_port).options(num_cpus=0, scheduling_strategy=places[0]).remote(), timeout=_MEET_S
        )
        address = f"tcp://{nodes[0]['NodeManagerAddress']}:{port}"
        task = ray.remote(_sum).options(num_cpus=0, num_gpus=1 if gpus else 0, max_retries=0)
        for rank, place in enumerate(places):
            begun.append(task.options(scheduling_strategy=place).remote(rank, len(nodes), address, backend))
        seconds, *_ = ray.get(begun, timeout=2 * _MEET_S)
    except (RayError, GetTimeoutError) as error:
        for one in begun:
            ray.cancel(one, force=True)
        return f"failed with {backend}: {str(error).strip().splitlines()[-1] or type(error).__name__}"
    return Exchanged(backend, len(nodes), seconds)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _sum(rank: int, size: int, address: str, backend: str) -> dict[int, float]:
    """Sum tensors with the other nodes, and return the median seconds for each number of bytes."""
    wait = datetime.timedelta(seconds=_MEET_S)
    distributed.init_process_group(backend, init_method=address, rank=rank, world_size=size, timeout=wait)
    device = torch.device("cuda", 0) if backend == "nccl" else torch.device("cpu")
    try:
        return {bytes_: statistics.median(_timed(torch.ones(bytes_ // 4, device=device))) for bytes_ in SIZES}
    finally:
        distributed.destroy_process_group()


def _timed(tensor: torch.Tensor) -> list[float]:
    found = []
    for _ in range(_WARM + _TIMED):
        started = time.perf_counter()
        distributed.all_reduce(tensor)
        if tensor.is_cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
        tensor.fill_(1.0)
    return found[_WARM:]
