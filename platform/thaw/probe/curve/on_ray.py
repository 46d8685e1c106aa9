"""Learning curves on Ray: one task a draw, over vectors that are computed once and kept.

How a curve comes about stands in the modules beside this one.
"""

from collections.abc import Mapping

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from thaw import bundle, catalog, on_ray
from thaw.config.experiment import Experiment
from thaw.console import say, track
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.order import shuffled
from thaw.errors import ConfigError
from thaw.probe import linear
from thaw.probe.curve import answers
from thaw.probe.curve.answers import Ground
from thaw.probe.curve.curve import Curve, doubt
from thaw.probe.curve.page import page
from thaw.probe.curve.result import JSON, PAGE, Result
from thaw.probe.embedding import Vectors
from thaw.probe.vectors import on_ray as vectors
from thaw.storage import Root, open_root
from thaw.tasks.contract import Task

_SPLITS = ("train", "val")
_PLACES = "a linear head on the pooled vector says nothing of places, so boxes and masks have none"


def measure(experiment: Experiment, targets: Mapping[str, float], max_images: int | None = None) -> Result:
    """Return the learning curves of an experiment's tasks, and write them beside the shards.

    Args:
        targets: by task, the value of its best metric that is aimed at.
        max_images: training images to learn from, drawn by the seed, as if there were no others; None takes all.

    Raises:
        ThawError: data, backbone or cluster do not fit what is asked, or a target is of no task that has a curve.
    """
    on_ray.check_shared(experiment.storage.root)
    check(experiment, targets)
    root = open_root(experiment.storage.root)
    with on_ray.cluster(wait_s=experiment.cluster.wait_s):
        prepared = data.prepare(experiment)
        tasks = bundle.build_tasks(experiment.tasks, prepared.labels)
        heads = {name: task for name, task in tasks.items() if linear.has_linear_head(task)}
        left_out = {name: _PLACES for name in tasks if name not in heads}
        seen = _seen(root, experiment, prepared, heads, max_images)
        curves = []
        for name, task in heads.items():
            found = _curve(task, seen, experiment.seed, targets.get(name))
            if isinstance(found, Curve):
                curves.append(found)
            else:
                left_out[name] = found
    result = Result(
        dataset=prepared.path,
        backbone=experiment.model.backbone,
        image_size=experiment.data.image.size,
        curves=tuple(curves),
        left_out=left_out,
    )
    root.write_json(f"{prepared.path}/{JSON}", result.model_dump(mode="json"))
    root.write_bytes(f"{prepared.path}/{PAGE}", page(experiment.name, result).encode())
    return result


def check(experiment: Experiment, targets: Mapping[str, float]) -> None:
    """Raise a ConfigError when a target is of no task of one class or several."""
    heads = [name for name, options in experiment.tasks.items() if options.annotation in ("class", "classes")]
    for name in targets:
        if name not in heads:
            hint = catalog.did_you_mean(name, heads)
            raise ConfigError(f"--target {name}: {', '.join(heads) or 'no task'} can have a curve{hint}")


def _seen(
    root: Root, experiment: Experiment, prepared: Dataset, heads: Mapping[str, Task], most: int | None
) -> dict[str, Vectors]:
    """Return train and val as the backbone sees them, with the labels of the tasks."""
    if not heads:
        return {}
    features, first, found = vectors.of_all(root, experiment, prepared), 0, {}
    for split in _SPLITS:
        rows, targets = prepared.rows(split), {name: _targets(root, prepared, split, name) for name in heads}
        chosen = np.sort(shuffled(experiment.seed, 0, rows)[:most] if split == "train" else np.arange(rows))
        found[split] = Vectors(features[first + chosen], {name: one[chosen] for name, one in targets.items()})
        first += rows
    return found


def _targets(root: Root, prepared: Dataset, split: str, task: str) -> NDArray[np.int64]:
    read = dataset.classes_of if prepared.labels[task].kind == "class" else dataset.sets_of
    return read(root, prepared, split, task)


def _curve(task: Task, seen: Mapping[str, Vectors], seed: int, target: float | None) -> Curve | str:
    """Return the curve of a task, or why it has none."""
    if why := doubt(task, *(len(seen[split].labelled(task)[1]) for split in _SPLITS)):
        return why
    ground = ray.get(ray.remote(_ground).remote(task, seen["train"], seen["val"]))
    shared, draw = ray.put(ground), ray.remote(_drawn)
    asked = [draw.remote(shared, seed, number) for number in range(answers.DRAWS)]
    found = [ray.get(one) for one in track(asked, f"{task.name}, draws", len(asked))]
    curve = Curve.of(ground, answers.joined(found), seed, target)
    say(f"{task.name}: {curve.metric} {curve.now:.3f} with {curve.images:,} images")
    return curve


def _ground(task: Task, train: Vectors, val: Vectors) -> Ground:
    torch.set_num_threads(1)  # there is one such process a CPU
    return Ground.of(task, train, val)


def _drawn(ground: Ground, seed: int, draw: int) -> NDArray[np.int64]:
    torch.set_num_threads(1)
    return answers.drawn(ground, seed, draw)
