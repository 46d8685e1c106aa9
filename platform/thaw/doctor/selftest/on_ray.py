"""The self-test on Ray: the training of Thaw itself, by one worker and by several, on the same global batches."""

import functools
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
from ray.train.v2.api.exceptions import TrainingFailedError
from torch import nn

from thaw import bundle
from thaw.backbones.weights import digest
from thaw.console import say
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.doctor.selftest import trial
from thaw.doctor.selftest.trial import Bug
from thaw.doctor.tally import Tally
from thaw.errors import ThawError
from thaw.model import FinetuneModel
from thaw.storage import Root
from thaw.training import on_ray as training
from thaw.training.session import Seat
from thaw.training.state import Epoch
from thaw.training.step import Batch

_MARK = "self-test digest "


def train(root: Root, sizes: Sequence[int], bug: Bug | None) -> list[Tally]:
    """Train with each number of workers, and return what each came to.

    Args:
        root: an empty place that every node reaches; what is left there is the caller's to remove.
        bug: to be planted wherever there are several workers.
    """
    prepared = data.prepare(trial.experiment(root.uri, 1, max(sizes)))
    return [_tally(root, prepared, workers, max(sizes), bug if workers > 1 else None) for workers in sizes]


def _tally(root: Root, prepared: Dataset, workers: int, most: int, bug: Bug | None) -> Tally:
    say(f"self-test: {workers} worker(s){f', with a planted bug: {bug}' if bug else ''}")
    started, digests = time.monotonic(), dict[int, str]()

    def hear(line: str) -> None:
        if line.startswith(_MARK):
            told = json.loads(line.removeprefix(_MARK))
            digests[told["worker"]] = told["digest"]

    experiment = training.resolve(trial.experiment(root.uri, workers, most))
    shards, path = training.lent(root, prepared, experiment), f"runs/{workers}"
    arrange = functools.partial(_arranged, bug)
    try:
        trained, *_ = training.fit(root, path, experiment, prepared, shards, tell=hear, arrange=arrange, spread=True)
    except (ThawError, TrainingFailedError) as error:
        return Tally(workers, time.monotonic() - started, failure=_reason(error))
    losses = [
        loss for epoch in trained.history for kind in (epoch.train_loss, epoch.val_loss) for loss in kind.values()
    ]
    last = f"{path}/checkpoints/epoch_{len(trained.history):04d}/{bundle.WEIGHTS}"
    state = safetensors.torch.load(root.read_bytes(last))
    begun = bundle.create(experiment, prepared.labels).model.state_dict()
    moved = {name: (weight.float() - begun[name].float()).numpy().astype(np.float32) for name, weight in state.items()}
    told = [digests[worker] for worker in sorted(digests)]
    return Tally(workers, time.monotonic() - started, digests=told, losses=losses, moved=moved)


def _reason(error: Exception) -> str:
    """Return what a worker said, of an error that Ray Train wraps in several others."""
    causes = [str(one) for one in getattr(error, "worker_failures", {}).values()] or [str(error)]
    return [line for line in causes[0].strip().splitlines() if line.strip()][-1].strip()


def _arranged(bug: Bug | None, seat: Seat) -> Seat:
    """Return a worker's place that tells its weights' digest after every epoch, and has a bug where one is asked."""
    held: list[FinetuneModel] = []

    def wrap(model: FinetuneModel) -> nn.Module:
        held[:] = [model]
        return model if bug == "gradients" else seat.wrap(model)

    def stream(split: str, feed: Feed, start: int, stop: int) -> Generator[Batch]:
        return seat.stream(split, replace(feed, worker=0) if bug == "shares" else feed, start, stop)

    def report(name: str, folder: Path | None, history: Sequence[Epoch] | None) -> None:
        content = digest({name: weight.detach() for name, weight in held[0].named_parameters()})
        seat.tell(_MARK + json.dumps({"worker": seat.worker, "digest": content[:16]}))
        seat.report(name, folder, history)

    return replace(seat, wrap=wrap, stream=stream, report=report)
