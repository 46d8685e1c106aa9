"""Probing on Ray: features of every backbone on all nodes; what can go wrong with one ends none of the others."""

import functools
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thaw import bundle, on_ray, processor
from thaw.config.experiment import Experiment
from thaw.console import say, track
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.order import shuffled
from thaw.data.preprocess import Preprocess
from thaw.errors import ThawError
from thaw.probe import cost, embedding, linear
from thaw.probe.candidates import Candidate
from thaw.probe.cost import Latency, Size
from thaw.probe.embedding import Vectors, View
from thaw.probe.key import key
from thaw.probe.linear import Best
from thaw.probe.ranking import Machine, Probe, Ranking, Row
from thaw.probe.vectors import on_ray as vectors
from thaw.probe.vectors.on_ray import CHUNK, Chunk, Eye
from thaw.storage import open_root
from thaw.tasks.contract import Task

_FORMAT = 1
"""Version of what is kept; part of every key."""
_BATCHES = (1, 32)
"""Images at a time for which latency is measured; `Request.max_latency_ms` is of the first."""

_WORTH_THREADS = 10**7
"""Numbers among the features from which fitting a head gains by several threads; below, they wait for each other."""
_SPLITS = ("train", "val")
_UNRANKED = "a linear head on the pooled vector says nothing of places, so boxes and masks rank no backbone here"


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        max_parameters: larger backbones are left out before anything is computed.
        max_latency_ms: slower ones, at one image, before their weights are loaded.
        max_images: of each split; drawn by the experiment's seed. None takes all.
        fresh: whether to use nothing that earlier calls kept.
    """

    candidates: Sequence[Candidate]
    max_parameters: float | None = None
    max_latency_ms: float | None = None
    max_images: int | None = None
    fresh: bool = False


def rank(experiment: Experiment, request: Request, prepared: Dataset | None = None) -> Ranking:
    """Rank backbones by the best linear heads on their frozen features of the experiment's data.

    Args:
        prepared: the experiment's dataset; prepared first when left out.

    Raises:
        ThawError: the data or the cluster do not fit what is asked. What is wrong with one backbone is told in its row.
    """
    on_ray.check_shared(experiment.storage.root)
    with on_ray.cluster(wait_s=experiment.cluster.wait_s):
        on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus, experiment.cluster.wait_s)
        return _Probing(experiment, request, prepared or data.prepare(experiment)).ranking()


class _Probing:
    """One call: what is the same for all candidates, and how each is gone through, cheap questions first."""

    def __init__(self, experiment: Experiment, request: Request, prepared: Dataset) -> None:
        tasks = bundle.build_tasks(experiment.tasks, prepared.labels)
        self._root = open_root(experiment.storage.root)
        self._request, self._prepared = request, prepared
        self._tasks = {name: task for name, task in tasks.items() if linear.has_linear_head(task)}
        self._unranked = {name: _UNRANKED for name in tasks if name not in self._tasks}
        self._gpus = experiment.evaluate.gpus
        self._view = View(
            preprocess=Preprocess.of(experiment.data.image),
            limits=experiment.data.limits,
            labels={name: task.labels for name, task in self._tasks.items()},
            seed=experiment.seed,
            device="cuda" if self._gpus else "cpu",
        )
        self._machine, self._node = ray.get(self._remote(_here).remote(self._view.device))

    def ranking(self) -> Ranking:
        """Go through all candidates and return them in order."""
        candidates, image_size = self._request.candidates, self._view.preprocess.size
        size_of = ray.remote(cost.size)
        sizes = {name: size_of.remote(name, image_size) for name in {one.backbone for one in candidates}}
        rows = []
        for number, candidate in enumerate(candidates, start=1):
            rows.append(self._row(candidate, sizes[candidate.backbone]))
            say(f"[{number}/{len(candidates)}] {_told(rows[-1], self._tasks)}")
        found = Ranking(
            dataset=self._prepared.path,
            image_size=image_size,
            machine=self._machine,
            metrics={name: task.best_metric for name, task in self._tasks.items()},
            unranked_tasks=self._unranked,
            rows=tuple(rows),
        )
        return found.ordered()

    def _row(self, candidate: Candidate, size: "ray.ObjectRef[Size]") -> Row:
        """Return what is known of a candidate by the time that it is left out or ranked."""
        row = Row(backbone=candidate.backbone, weights=candidate.weights.source)
        try:
            for step in (self._sized, self._timed, self._probed):
                row = row.model_copy(update=step(candidate, size))
                if row.left_out:
                    break
        except RayError as failure:
            return row.model_copy(update={"left_out": _reason(failure)})
        return row

    def _sized(self, _candidate: Candidate, size: "ray.ObjectRef[Size]") -> dict[str, Any]:
        found, most = ray.get(size), self._request.max_parameters
        facts: dict[str, Any] = {"parameters": found.parameters, "macs": found.macs}
        if most is not None and found.parameters > most:
            facts["left_out"] = f"{found.parameters:,} weights are more than --max-params {most:,.0f}"
        return facts

    def _timed(self, candidate: Candidate, _size: object) -> dict[str, Any]:
        most = self._request.max_latency_ms
        found: dict[int, float] = {}
        facts: dict[str, Any] = {"latency_ms": found, "disturbed": False}
        for batch in _BATCHES:
            latency = self._latency(candidate.backbone, batch)
            found[batch] = latency.ms
            facts["disturbed"] |= latency.disturbed
            if most is not None and found[_BATCHES[0]] > most:
                busy = " (while other work had the cores: try again)" if latency.disturbed else ""
                told = f"{latency.ms:.1f} ms for one image are more than --max-latency-ms {most:g}{busy}"
                return {**facts, "left_out": told}
        return facts

    def _latency(self, name: str, batch: int) -> Latency:
        """Return the time of a batch on the machine of this call: kept, or measured with nothing of ours under way."""
        size = self._view.preprocess.size
        place = f"probes/latency/{key(name, [_FORMAT, name, size, batch, self._machine.model_dump()])}.json"
        if not self._request.fresh and self._root.exists(place):
            return Latency(**self._root.read_json(place)["latency"])
        there = NodeAffinitySchedulingStrategy(self._node, soft=False)
        measure = self._remote(_measured, scheduling_strategy=there)
        found: Latency = ray.get(measure.remote(name, size, batch, self._view.device))
        if not found.disturbed:
            facts = {"backbone": name, "image_size": size, "batch": batch, "machine": self._machine.model_dump()}
            self._root.write_json(place, {**facts, "latency": asdict(found)})
        return found

    def _probed(self, candidate: Candidate, _size: object) -> dict[str, Any]:
        """Return what linear heads come to: kept, or found out now."""
        sha256 = vectors.sha256(Eye(candidate, self._view, self._gpus))
        place = f"probes/{self._prepared.name}-{self._prepared.fingerprint}/{self._key(candidate, sha256)}.json"
        kept = not self._request.fresh and self._root.exists(place)
        if kept:
            probe = Probe.model_validate(self._root.read_json(place)["probe"])
        else:
            probe = self._probe(candidate)
            facts = {"backbone": candidate.backbone, "weights": candidate.weights.source, "sha256": sha256}
            self._root.write_json(place, {**facts, "probe": probe.model_dump(mode="json")})
        return {"sha256": sha256, "probe": probe, "probed_before": kept}

    def _key(self, candidate: Candidate, sha256: str) -> str:
        """Return the name of an answer, made of all that it depends on beside the dataset."""
        options = {name: task.options.model_dump(mode="json") for name, task in self._tasks.items()}
        drawn = [self._request.max_images, self._view.seed] if self._request.max_images else []
        preprocess = self._view.preprocess.model_dump()
        return key(candidate.backbone, [_FORMAT, candidate.backbone, sha256, preprocess, options, drawn])

    def _probe(self, candidate: Candidate) -> Probe:
        """Compute the features of all images and fit the heads."""
        if not self._tasks:
            return Probe(metrics={}, penalties={}, images={}, embed_s=0.0, fit_s=0.0)
        started = time.monotonic()
        seen = self._vectors(candidate)
        embed_s = time.monotonic() - started
        found = ray.get(ray.remote(_fitted).remote(seen["train"], seen["val"], list(self._tasks.values())))
        return Probe(
            metrics={name: best.metrics for name, best in found.items()},
            penalties={name: best.penalty for name, best in found.items() if best.penalty is not None},
            images={split: len(part.features) for split, part in seen.items()},
            embed_s=embed_s,
            fit_s=time.monotonic() - started - embed_s,
        )

    def _vectors(self, candidate: Candidate) -> dict[str, Vectors]:
        """Return train and val as a backbone sees them, computed on all nodes."""
        chunks = [(split, chunk) for split in _SPLITS for chunk in self._chunks(split)]
        parts = vectors.embedded(Eye(candidate, self._view, self._gpus), (chunk for _, chunk in chunks))
        found: dict[str, list[Vectors]] = {split: [] for split in _SPLITS}
        for (split, _), part in track(zip(chunks, parts, strict=True), f"{candidate.backbone}, batches", len(chunks)):
            found[split].append(part)
        return {split: embedding.joined(parts) for split, parts in found.items()}

    def _chunks(self, split: str) -> list[Chunk]:
        """Return the images that are seen of a split."""
        shards, images = self._prepared.splits[split], self._prepared.rows(split)
        most = self._request.max_images or images
        seen = np.sort(shuffled(self._view.seed, 0, images)[:most])
        starts = np.cumsum([0, *(shard.rows for shard in shards)])
        found: list[Chunk] = []
        for place, table in enumerate(self._shards[split]):
            rows = seen[(starts[place] <= seen) & (seen < starts[place + 1])] - starts[place]
            found += [(table, rows[first : first + CHUNK].tolist()) for first in range(0, len(rows), CHUNK)]
        return found

    @functools.cached_property
    def _shards(self) -> dict[str, list["ray.ObjectRef[pa.Table]"]]:
        return {split: data.encoded_shards(self._root, self._prepared, split) for split in _SPLITS}

    def _remote(self, function: Callable[..., Any], **options: Any) -> Any:
        """Return a function to be run on a node, with the GPUs that the experiment gives to answering."""
        return ray.remote(function).options(num_gpus=self._gpus, **options)


def _here(device: str) -> tuple[Machine, str]:
    """Return this machine, and the id of its node."""
    name = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else str(processor.facts().get("cpu_name", platform.processor()))
    )
    machine = Machine(host=platform.node(), device=name or "CPU", threads=on_ray.cores(), torch=str(torch.__version__))
    return machine, str(ray.get_runtime_context().get_node_id())


def _measured(name: str, image_size: int, batch: int, device: str) -> Latency:
    """Return the latency of a backbone in this process, with all cores that it may use."""
    torch.set_num_threads(on_ray.cores())
    untrained = embedding.untrained(name, image_size, device)
    return cost.latency(untrained.model, image_size, batch, untrained.device)


def _fitted(train: Vectors, val: Vectors, tasks: Sequence[Task]) -> dict[str, Best]:
    torch.set_num_threads(on_ray.cores() if train.features.size > _WORTH_THREADS else 1)
    return {task.name: linear.best(task, train, val) for task in tasks}


def _reason(failure: RayError) -> str:
    """Return what a task failed of, on one line."""
    cause = failure.cause if isinstance(failure, RayTaskError) else failure
    text = " ".join(str(cause).split())
    return text if isinstance(cause, ThawError) else f"{type(cause).__name__}: {text[:200]}"


def _told(row: Row, tasks: Mapping[str, Task]) -> str:
    """Return a line of progress."""
    if row.left_out:
        return f"{row.backbone} ({row.weights}) is left out: {row.left_out}"
    scores = {name: row.value(name, task.best_metric) for name, task in tasks.items()}
    told = "  ".join(f"{name} {'-' if one is None else f'{one:.3f}'}" for name, one in scores.items())
    return f"{row.backbone} ({row.weights}): {told}{' (from an earlier call)' if row.probed_before else ''}"
