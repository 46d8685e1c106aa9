"""Some images of a dataset, each seen by a function, on all nodes."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray

from thaw import on_ray
from thaw.console import track
from thaw.data import dataset
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation
from thaw.storage import Root

Asked = TypeVar("Asked")
Seen = TypeVar("Seen")
See = Callable[[bytes, Mapping[str, Annotation], Asked], Seen]
"""Given an encoded image, its annotations by task and what was asked of it."""


def visit(
    root: Root,
    prepared: Dataset,
    splits: Sequence[str],
    asked: Mapping[int, Asked],
    see: See[Asked, Seen],
    doing: str,
) -> dict[int, Seen]:
    """Return row -> what is seen there; only shards with such a row are read.

    Args:
        splits: whose images these are.
        asked: row, counted over the shards of these splits in order, -> what `see` is given.
        doing: what is shown beside the progress.
    """
    work: Any = ray.remote(_seen)
    calls = []
    by_shard: dict[tuple[str, int], list[int]] = defaultdict(list)
    for path, first, after in _shards(prepared, splits):
        for row in range(first, after):
            if row in asked:
                by_shard[path, first].append(row)
    for (path, first), rows in by_shard.items():
        inside = [(row - first, asked[row]) for row in rows]
        calls.append(functools.partial(work.remote, root, path, inside, see))
    parts = on_ray.in_order(calls, 2 * max(1, int(on_ray.num_cpus())))
    found: dict[int, Seen] = {}
    for rows, part in zip(by_shard.values(), track(parts, f"{doing}, shards", len(calls)), strict=True):
        found |= zip(rows, part, strict=True)
    return found


def _shards(prepared: Dataset, splits: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield the path of every shard, and from which row to which it goes."""
    first = 0
    for split in splits:
        for shard in prepared.splits[split]:
            yield f"{prepared.path}/{shard.file}", first, first + shard.rows
            first += shard.rows


def _seen(root: Root, path: str, asked: Sequence[tuple[int, Asked]], see: See[Asked, Seen]) -> list[Seen]:
    shard, found = dataset.read_shard(root, path), []
    for row, one in asked:
        _, content, annotations = dataset.encoded(shard, row)
        found.append(see(content, annotations, one))
    return found
