"""Vectors on Ray: what a frozen backbone makes of a dataset's images, computed on all nodes, and kept for next time.

What it makes of one image stands in thaw.probe.embedding.
"""

import functools
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray

from thaw import on_ray
from thaw.config.experiment import Experiment
from thaw.console import say, track
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.preprocess import Preprocess
from thaw.probe import embedding
from thaw.probe.candidates import Candidate
from thaw.probe.embedding import Embedder, Vectors, View
from thaw.probe.key import key
from thaw.storage import Root

CHUNK = 32
"""Images that one task embeds, in one forward pass."""
_AHEAD = 3
"""Chunks a CPU that are under way or wait for it: enough for none to idle, and few shards in memory."""
_FORMAT = 1
"""Version of what is kept; part of every key."""

Chunk = tuple["ray.ObjectRef[pa.Table]", list[int]]
"""A shard, and at most `CHUNK` of its rows."""


@dataclass(frozen=True)
class Eye:
    """A backbone with its weights, how images are shown to it, and the GPUs that each process of it reserves."""

    candidate: Candidate
    view: View
    gpus: float

    @classmethod
    def of(cls, experiment: Experiment) -> "Eye":
        """Return an experiment's own backbone as it is before training."""
        gpus = experiment.evaluate.gpus
        view = View(
            preprocess=Preprocess.of(experiment.data.image),
            limits=experiment.data.limits,
            labels={},
            seed=experiment.seed,
            device="cuda" if gpus else "cpu",
        )
        return cls(Candidate(experiment.model.backbone, experiment.model.weights), view, gpus)


def of_all(root: Root, experiment: Experiment, prepared: Dataset) -> NDArray[np.float32]:
    """Return (N, D) what an experiment's frozen backbone makes of every image, in the order of the shards.

    That is the order of `thaw.data.facts`: train, val, test. Computed once for the same images, weights and size.

    Raises:
        ModelError: the backbone or its weights cannot be had.
    """
    on_ray.check_gpus("evaluate.gpus", experiment.evaluate.gpus, experiment.cluster.wait_s)
    eye = Eye.of(experiment)
    with on_ray.plainly():
        place = _place(prepared, eye)
        if root.exists(place):
            say(f"vectors of {eye.candidate.backbone} from an earlier call: {root.shown(place)}")
            return _read(root, place)
        images = sum(prepared.rows(split) for split in prepared.splits)
        parts = embedded(eye, _chunks(root, prepared))
        found = embedding.joined(list(track(parts, f"{eye.candidate.backbone}, batches", -(-images // CHUNK)))).features
    _write(root, place, found)
    return found


def sha256(eye: Eye) -> str:
    """Return the SHA-256 of the weights, as some node finds them.

    Raises:
        RayTaskError: they cannot be had; its cause says why.
    """
    return str(ray.get(ray.remote(_sha256).options(num_gpus=eye.gpus).remote(eye)))


def embedded(eye: Eye, chunks: Iterable[Chunk]) -> Iterator[Vectors]:
    """Yield the vectors of each chunk in order, computed on all nodes.

    Chunks are taken when there is room for them, so that where they are read as they are taken, as many shards are in
    memory as are being worked on.

    Raises:
        RayTaskError: the backbone or its weights cannot be had; its cause says why.
    """
    embed = ray.remote(_embedded).options(num_gpus=eye.gpus)
    calls = (functools.partial(embed.remote, shard, rows, eye) for shard, rows in chunks)
    return on_ray.in_order(calls, _AHEAD * max(1, int(on_ray.num_cpus())))


def _chunks(root: Root, prepared: Dataset) -> Iterator[Chunk]:
    """Yield all images of a dataset; a shard is read when its first chunk is asked for."""
    for shards in prepared.splits.values():
        for shard in shards:
            table = data.encoded_shard(root, prepared, shard)
            for first in range(0, shard.rows, CHUNK):
                yield table, list(range(first, min(first + CHUNK, shard.rows)))


def _place(prepared: Dataset, eye: Eye) -> str:
    """Return where vectors are kept, below the storage root."""
    asked = [_FORMAT, eye.candidate.backbone, sha256(eye), eye.view.preprocess.model_dump()]
    return f"vectors/{prepared.name}-{prepared.fingerprint}/{key(eye.candidate.backbone, asked)}.npy"


def _read(root: Root, place: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(io.BytesIO(root.read_bytes(place)), allow_pickle=False)
    return found


def _write(root: Root, place: str, vectors: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    root.write_bytes(place, buffer.getvalue())


@functools.lru_cache(maxsize=1)
def _pretrained(candidate: Candidate, view: View) -> Embedder:
    """Load a backbone once a process, however many images it embeds."""
    return embedding.pretrained(candidate, view)


def _sha256(eye: Eye) -> str:
    return _pretrained(eye.candidate, eye.view).sha256


def _embedded(shard: pa.Table, rows: list[int], eye: Eye) -> Vectors:
    torch.set_num_threads(1)  # there is one such process a CPU
    return embedding.vectors(_pretrained(eye.candidate, eye.view), shard, rows, eye.view)
