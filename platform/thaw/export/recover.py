"""Recover: some epochs of training for a model that lost weights, in this process, with everything open.

First the statistics of normalisation are taken anew, for they are those of channels that are gone: Lite0 on `steel`
without half of its channels reached 0.94 after two epochs so, and 0.60 without. Then the plan's last phase gives the
rates; the loop is that of every training. Nothing is saved on the way: it is short.

Source: Li et al. 2020, EagleEye, arXiv:2007.02491.
"""

import functools
from collections.abc import Generator, Iterable
from dataclasses import replace

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from thaw.bundle import Bundle
from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data import dataset, here
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.storage import Root
from thaw.training import checkpoint, loop, monitor, run, session
from thaw.training.loop import Batch, Progress
from thaw.training.plan import FinetunePlan

_BATCHES = 16
"""Batches of training images that statistics of normalisation are taken of, if an epoch has as many."""


def recover(pruned: Bundle, experiment: Experiment, root: Root, prepared: Dataset, epochs: int) -> Bundle:
    """Train for some epochs, and return the model as it is after the last.

    Raises:
        ConfigError: its loss is not a finite number.
    """
    alone = experiment.model_copy(update={"train": experiment.train.model_copy(update={"workers": 1})})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on = session.device_of(alone, device, torch.get_num_threads())
    pruned.model.to(on.device)
    plan = _plan(pruned, alone, prepared, epochs)
    state = checkpoint.fresh(pruned, plan, alone.finetune, scaled=on.autocast == torch.float16)
    train = run.feed_of(alone, prepared, "train", drawn_by=run.chances(root, alone, prepared))
    val = run.feed_of(alone, prepared, "val")
    _normalise(pruned, _stream(root, prepared, "train", train, 0, min(_BATCHES, train.epoch_steps)))
    served = state.served(pruned.model)
    progress = loop.fit(
        pruned.model,
        pruned.tasks,
        plan,
        alone.finetune,
        state,
        batches=functools.partial(_stream, root, prepared, "train", train),
        validate=lambda: loop.evaluate(
            served, pruned.tasks, _stream(root, prepared, "val", val, 0, val.epoch_steps), on
        ),
        on=on,
        seed=alone.seed,
    )
    for one in progress:
        if isinstance(one, Progress):
            say(monitor.line(one.epoch, epochs))
    return replace(pruned, model=served.cpu().eval())


@torch.no_grad()
def _normalise(pruned: Bundle, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch normalisation to the mean of those of some batches."""
    pruned.model.eval()
    layers = [one for one in pruned.model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
    momenta = [one.momentum for one in layers]
    for one in layers:
        one.reset_running_stats()
        one.momentum = None  # all batches alike
        one.train()
    device = next(pruned.model.parameters()).device
    for batch in batches:
        pruned.model(torch.as_tensor(batch["pixels"], device=device))
    for one, momentum in zip(layers, momenta, strict=True):
        one.momentum = momentum
    pruned.model.eval()


def _plan(pruned: Bundle, experiment: Experiment, prepared: Dataset, epochs: int) -> FinetunePlan:
    """Return a plan of one phase like the last one of the experiment, with all groups open from its beginning."""
    phase = experiment.finetune.phases[-1].model_copy(
        update={"epochs": epochs, "depth": "all", "open_every": None, "views": None}
    )
    steps = run.feed_of(experiment, prepared, "train").epoch_steps
    names = [group.name for group in pruned.model.groups]
    return FinetunePlan.over([phase], experiment.model.backbone, names, steps)


def _stream(root: Root, prepared: Dataset, split: str, feed: Feed, start: int, stop: int) -> Generator[Batch]:
    shards = [dataset.read_shard(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits[split]]
    return here.stream(feed, shards, start, stop, torch.get_num_threads())
