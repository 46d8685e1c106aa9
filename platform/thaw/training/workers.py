"""Workers: what the training processes of one group exchange, beside the gradients that DDP averages."""

import torch
from torch import Tensor, nn

from thaw.backbones.weights import digest
from thaw.model import FinetuneModel
from thaw.tasks.contract import PooledHead


def over_workers(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all workers of the process group, if there is one; changes it in place."""
    if _is_group():
        torch.distributed.all_reduce(value)
    return value


def by_worker(value: Tensor, worker: int, workers: int) -> Tensor:
    """Return (workers, ...) what each worker holds of a value, on every worker."""
    gathered = value.new_zeros((workers, *value.shape))
    gathered[worker] = value
    return over_workers(gathered)


def ddp_options(model: FinetuneModel) -> dict[str, bool]:
    """Return how DistributedDataParallel must wrap a model.

    BatchNorm's statistics need sharing only if they move. Where no head reads the pooled vector, the layers that make
    it get no gradient, and DDP would wait for one.
    """
    reads_pooled = any(isinstance(head, PooledHead) for head in model.heads.values())
    return {"broadcast_buffers": model.batchnorm == "adapt", "find_unused_parameters": not reads_pooled}


def first_says(value: bool) -> bool:
    """Return what the first worker was called with: one decision for all."""
    told = torch.tensor([int(value)])
    if _is_group():
        torch.distributed.broadcast(told, 0)
    return bool(told.item())


def all_say(value: bool) -> bool:
    """Return whether every worker was called with True; none gets an answer before all have asked."""
    return over_workers(torch.tensor([int(not value)])).item() == 0


def share_buffers(model: nn.Module) -> None:
    """Give every worker the first one's buffers, such as BatchNorm's statistics: they are the ones that are saved."""
    if _is_group():
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def check_replicas(model: nn.Module, device: torch.device) -> None:
    """Refuse to go on when the workers' weights are no longer the same, bit for bit.

    Nothing else would tell: a weight whose gradient is not averaged drifts apart on each worker in silence.

    Raises:
        RuntimeError: they differ.
    """
    content = digest({name: weight.detach() for name, weight in model.named_parameters()})
    own = torch.tensor(int(content[:15], 16), device=device)
    least, most = own.clone(), own.clone()
    if _is_group():
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    if least != most:
        raise RuntimeError("the workers' weights have drifted apart: some gradient was not averaged over them")


def _is_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
