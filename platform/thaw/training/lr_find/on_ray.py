"""The range test on Ray: one task with the resources of one training worker, and what the driver keeps of it."""

import itertools
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from thaw import on_ray
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.console import say, track
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.pieces.on_ray import quiet
from thaw.errors import ConfigError
from thaw.registry import record as records
from thaw.storage import Root, open_root
from thaw.training import on_ray as training
from thaw.training import run, session
from thaw.training.lr_find import finding
from thaw.training.lr_find.finding import Finding, Range
from thaw.training.lr_find.sweep import Learner, Step
from thaw.training.step import Batch
from thaw.training.work.on_ray import KEEP_MEMORY, SWITCH_S, threads

FOLDER = "lr-find"
"""Where pictures and curves lie in the storage root."""


@dataclass(frozen=True)
class Found:
    """A range test and where its picture lies.

    Attributes:
        depths: groups that each phase of the plan opens.
        picture: path of the PNG in the storage root; the curves lie beside it as JSON.
    """

    finding: Finding
    depths: tuple[int, ...]
    picture: str


def find(experiment: Experiment, chosen: Range, out: Path | None = None) -> Found:
    """Test which rates an experiment's plan should have, and store the curves and a picture of them.

    One process sees whole batches, however many will train, on the device that training would choose.

    Args:
        out: a PNG file for another copy of the picture.

    Raises:
        ThawError: data, model, plan, range or cluster do not fit what is asked.
    """
    if out and (out.suffix.lower() != ".png" or not out.parent.is_dir()):
        raise ConfigError(f"--out {out}: needs the name of a PNG file in a folder that exists, such as rates.png")
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    with on_ray.cluster(experiment.train.cpus_per_worker):
        prepared = run.dataset_of(experiment, data.prepare(experiment))
        device = training.device_of(experiment)
        experiment = training.resolve(_alone(experiment, device))
        experiment = run.check(root, experiment, prepared)
        say(f"rates {chosen.low:g} to {chosen.high:g}: {run.describe(experiment, prepared)}")
        found, depths = _watched(_begun(root, experiment, prepared, chosen))
    return Found(found, depths, _stored(root, experiment.name, found, out))


def _alone(experiment: Experiment, device: str) -> Experiment:
    train = experiment.train.model_copy(update={"workers": 1, "device": device})
    return experiment.model_copy(update={"train": train})


def _begun(root: Root, experiment: Experiment, prepared: Dataset, chosen: Range) -> "ray.ObjectRefGenerator":
    """Start the task; it yields steps, and last of all the finding."""
    on_gpu = experiment.train.device == "gpu"
    task = ray.remote(_work).options(
        num_cpus=experiment.train.cpus_per_worker,
        num_gpus=1 if on_gpu else 0,
        runtime_env={"env_vars": {} if on_gpu else KEEP_MEMORY},
    )
    setup = {
        "experiment": experiment.model_dump(mode="json"),
        "dataset": prepared.model_dump(mode="json"),
        "range": chosen,
        "chances": run.chances(root, experiment, prepared),
        "shards": data.lent_shards(root, prepared, "train", experiment.train),
    }
    return task.remote(setup)


def _work(setup: dict[str, Any]) -> Generator[Step | tuple[Finding, tuple[int, ...]]]:
    experiment = config.parse(setup["experiment"], FOLDER)
    prepared = Dataset.model_validate(setup["dataset"])
    quiet()
    sys.setswitchinterval(SWITCH_S)
    device = torch.device("cuda" if experiment.train.device == "gpu" else "cpu")
    on = session.device_of(experiment, device, threads(workers_here=1))
    trained = session.model_of(experiment, prepared, on)
    plan = run.plan_of(experiment, trained.model, prepared)
    learner = Learner(trained.model, trained.tasks, experiment.finetune, on, experiment.seed)
    feed = run.feed_of(experiment, prepared, "train", drawn_by=setup["chances"])

    def batches(start: int, stop: int) -> Generator[Batch]:
        chosen = experiment.train
        return data.stream(feed, setup["shards"], start, stop, chosen.prefetch, chosen.decode)

    found = yield from finding.find(learner, plan, setup["range"], batches)
    yield found, tuple({span.place: span.depth for span in plan.spans}.values())


def _watched(told: "ray.ObjectRefGenerator") -> tuple[Finding, tuple[int, ...]]:
    """Show how far the task is, and return what it hands over at the end."""
    values: Iterator[Any] = map(ray.get, told)
    with on_ray.plainly():
        for stage, results in itertools.groupby(values, lambda one: getattr(one, "stage", None)):
            if stage is None:
                found: tuple[Finding, tuple[int, ...]] = next(results)
                return found
            _show(stage, results)
    raise RuntimeError("the range test ended without a finding")


def _show(stage: str, steps: Iterator[Step]) -> None:
    """Show one stage as it goes on, and say what it came to."""
    first = next(steps)
    *_, last = track(itertools.chain([first], steps), stage, first.of)
    say(f"{stage}: {last.done} of {last.of} steps, the last loss {last.loss:.3f}")


def _stored(root: Root, name: str, found: Finding, out: Path | None) -> str:
    """Write picture and curves, and return the picture's path."""
    from thaw.training.lr_find import picture  # its library takes a second to load, and workers do without

    place = f"{FOLDER}/{records.new_run_id(name)}"
    drawn = picture.draw(name, found)
    root.write_bytes(f"{place}.png", drawn)
    root.write_json(f"{place}.json", found.model_dump(mode="json"))
    if out:
        out.write_bytes(drawn)
    return f"{place}.png"
