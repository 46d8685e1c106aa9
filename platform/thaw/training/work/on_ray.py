"""What a worker of Ray Train does, and what is set for its process.

Apart from what the driver does, because importing that would cost each of these processes seconds.
"""

import functools
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
from pydantic import TypeAdapter
from ray.train import Checkpoint
from torch import nn

from thaw import on_ray
from thaw.data import on_ray as data
from thaw.data.feed import Feed
from thaw.data.pieces.on_ray import quiet
from thaw.errors import ConfigError, LossError, ModelError
from thaw.model import FinetuneModel
from thaw.training import session, workers
from thaw.training.pulse.on_ray import Pulse
from thaw.training.run import Trained
from thaw.training.session import Seat
from thaw.training.state import Epoch
from thaw.training.step import Batch

KEEP_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
"""Makes glibc keep what a step freed for the next step: asking the kernel for it again costs a quarter of the time."""

SWITCH_S = 1e-4
"""How long a thread of the training process may hold the interpreter while another wants it, in seconds. PyTorch lets
go of it for every operation; Ray Data's scheduler, in the same process, would make each wait Python's usual 5 ms."""

_NEVER_BEST = -sys.float_info.max
"""Score of a checkpoint inside an epoch: below that of every epoch, so that Ray Train keeps it, beside the best, only
while it is the last one. Not minus infinity, for Ray Train writes scores down as JSON."""

_TRAINED = TypeAdapter(Trained)
"""Plain values cross to the driver, for the process of Ray Train that hands them on would import what they are of."""


def work(given: Mapping[str, Any]) -> dict[str, Any]:
    """Train as one of the workers, and return what the driver records, as plain values: see `outcome`.

    A refusal that every worker comes to alike is returned: raised, it would count as a crash and be tried again.
    """
    quiet()
    sys.setswitchinterval(SWITCH_S)
    pulse = Pulse(given["setup"].run_path) if ray.train.get_context().get_world_rank() == 0 else None
    try:
        seat = _seat(given, pulse)
        trained = session.train(given["setup"], given["arrange"](seat) if given["arrange"] else seat)
        return {"trained": _TRAINED.dump_python(trained)}
    except (ConfigError, ModelError) as refusal:
        if pulse and isinstance(refusal, LossError):
            pulse.lost()
        return {"refused": str(refusal)}


def outcome(told: Mapping[str, Any]) -> Trained:
    """Return what workers came to, out of what `work` returned.

    Raises:
        ConfigError: they refused.
    """
    if "refused" in told:
        raise ConfigError(told["refused"])
    return _TRAINED.validate_python(told["trained"])


def _seat(given: Mapping[str, Any], pulse: Pulse | None) -> Seat:
    """Return the place of this process among the workers of Ray Train."""
    context = ray.train.get_context()

    def stream(split: str, feed: Feed, start: int, stop: int) -> Generator[Batch]:
        return data.stream(feed, given["shards"][split], start, stop, given["prefetch"], given["decode"])

    return Seat(
        device=ray.train.torch.get_device(),
        threads=threads(context.get_local_world_size()),
        stream=stream,
        store=given["kept"],
        last=_last,
        report=functools.partial(_report, given["batch"], pulse),
        tell=given["channel"].put,
        worker=context.get_world_rank(),
        workers=context.get_world_size(),
        wrap=_wrap,
        decoders=given["decoders"],
        begins=pulse.step if pulse else Seat.begins,
    )


def threads(workers_here: int) -> int:
    """Return the threads of one training process: it may use the node's cores whenever decoding leaves them."""
    return max(1, on_ray.cores() // workers_here)


@contextmanager
def _last() -> Iterator[Path | None]:
    """Give the folder of the last checkpoint that was reported; None where there is none."""
    saved = ray.train.get_checkpoint()
    with saved.as_directory() if saved else nullcontext() as folder:
        yield Path(folder) if folder else None


def _wrap(model: FinetuneModel) -> nn.Module:
    """Make a model average its gradients over the workers."""
    wrapped: nn.Module = ray.train.torch.prepare_model(model, parallel_strategy_kwargs=dict(workers.ddp_options(model)))
    return wrapped


def _report(batch: int, pulse: Pulse | None, name: str, folder: Path | None, history: Sequence[Epoch] | None) -> None:
    """Hand a checkpoint and its score to Ray Train, from every worker alike."""
    if pulse and history:
        pulse.epoch(history[-1])
    saved = Checkpoint.from_directory(folder) if folder else None
    told = session.figures(history, batch) if history else {"score": _NEVER_BEST, "epoch": 0}
    ray.train.report(told, checkpoint=saved, checkpoint_dir_name=name)
