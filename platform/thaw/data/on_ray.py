"""The data stage on Ray: preparing a dataset on all nodes, and streaming decoded batches to a training worker.

What is done to an image stands in the modules beside this one; here is only where it runs.
"""

import functools
import itertools
import json
import os
import uuid
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from numpy.typing import NDArray

from thaw import on_ray
from thaw.config.experiment import Decode, Experiment, Limits, Train
from thaw.console import say, track
from thaw.data import check, cut, dataset, facts, split_file
from thaw.data import prepare as stages
from thaw.data.dataset import Dataset, Shard
from thaw.data.examined import Shelf
from thaw.data.feed import Feed
from thaw.data.found import Found, joined
from thaw.data.lending.on_ray import Lent, Loan, read
from thaw.data.listing import key, listed, references
from thaw.data.pieces.on_ray import done
from thaw.data.prepare import Plan
from thaw.data.rows import plain
from thaw.data.shards import shard_table
from thaw.errors import DataError
from thaw.storage import Root, open_root

_CHUNK = 128
"""Most images that one task checks: enough to pay for starting it, few enough to lose when it is interrupted."""
_COPIES = 16
"""Copies of shards that a store is asked for at the same time."""

_STRETCH = 64
"""Most steps that one Ray Data pipeline covers, and so the most batches that it decodes ahead; the next one begins
while half of it is left. Its scheduler looks at every task that is left, over and over: 1,300 took most of a core."""

_AHEAD_BYTES = 2**29
"""Most bytes of batches that one pipeline covers; at least `_LEAST` batches whatever their size."""
_LEAST = 8

_TASK_BYTES = 2**25
"""About how many bytes of batches one task decodes, one after another: some 50 ms pass until the next task begins."""


def prepare(experiment: Experiment) -> Dataset:
    """Bring the experiment's images into Parquet shards, unless exactly these are there already.

    Raises:
        DataError: the source cannot be read, labels do not fit, or too many images had to be set aside.
        StorageError: the storage root cannot be written.
    """
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    source = stages.open_source(experiment.data.source)
    named = split_file.put_on(source.references(), experiment.data.split.file)
    listing = listed(stages.checked(experiment, named), stages.columns(experiment))
    with on_ray.cluster(wait_s=experiment.cluster.wait_s):
        found = _examine(root, experiment, listing)
        del listing
        plan = stages.decided(experiment, found)
        _set_aside(root, experiment, plan)
        if not facts.written(root, plan.dataset.path):
            facts.write(root, plan.dataset.path, plan.facts)
        if root.exists(f"{plan.dataset.path}/dataset.json"):
            say(f"dataset {plan.dataset.path} is up to date")
        else:
            _write(root, experiment, plan)
    return plan.dataset


def shard_files(prepared: Dataset, split: str) -> list[pa.Table]:
    """Return a piece of work for each shard of a split: its path below the root, as ``file``."""
    return [pa.table({"file": [path]}) for path in _paths(prepared, split)]


def encoded_shards(root: Root, prepared: Dataset, split: str) -> list["ray.ObjectRef[pa.Table]"]:
    """Return the encoded rows of a split in the object store, one reference a shard, read on any node."""
    return read(root, _paths(prepared, split), {})


def encoded_shard(root: Root, prepared: Dataset, shard: Shard) -> "ray.ObjectRef[pa.Table]":
    """Return the encoded rows of one shard in the object store; see `encoded_shards`."""
    [found] = read(root, [f"{prepared.path}/{shard.file}"], {})
    return found


def _paths(prepared: Dataset, split: str) -> list[str]:
    return [f"{prepared.path}/{shard.file}" for shard in prepared.splits[split]]


def lent_shards(root: Root, prepared: Dataset, split: str, chosen: Train) -> "Lendable":
    """Return the encoded rows of a split for `stream`: all of them, or those that are about to be read."""
    paths, labels = _paths(prepared, split), chosen.decode.labels
    if sum(shard.bytes for shard in prepared.splits[split]) > chosen.shuffle_mb * 2**20:
        return Lent(root, paths, labels)
    return read(root, paths, labels)


Held: TypeAlias = "Sequence[ray.ObjectRef[pa.Table]]"
"""Encoded rows of all of a split's shards, by their places."""
Lendable: TypeAlias = "Held | Lent"
"""The same, or those that are about to be read."""


def decoded_shards(root: Root, prepared: Dataset, split: str, limits: Limits) -> list["ray.ObjectRef[pa.Table]"]:
    """Return the rows of a split with their images decoded, once for all who read them; see `encoded_shards`."""
    calls = [(root, path, limits) for path in _paths(prepared, split)]
    return on_ray.in_lanes(_read_bitmaps, calls, max(1, int(on_ray.num_cpus())))


def _read_bitmaps(root: Root, path: str, limits: Limits) -> pa.Table:
    return dataset.as_bitmaps(dataset.read_shard(root, path), limits)


def stream(
    feed: Feed, shards: Lendable, start: int, stop: int, prefetch: int | None, decode: Decode | None = None
) -> Generator[dict[str, NDArray[Any]]]:
    """Yield the batches of steps ``start`` to ``stop``, decoded and augmented by Ray Data ahead of their use.

    Args:
        shards: in the feed's order.
        prefetch: tasks that decode at the same time; None for as many as there are CPUs.
        decode: on which nodes; left out, on any.
    """
    length = max(_LEAST, min(_STRETCH, _AHEAD_BYTES // feed.batch_bytes))
    stretches = [range(first, min(first + length, stop)) for first in range(start, stop, length)]
    reader = uuid.uuid4().hex  # workers that fill the cache all read as the first one

    def begin(steps: range) -> _Pipeline:
        loan = _lent(shards, reader, feed, steps, stop)
        return _begun(feed, loan, steps, prefetch, decode or Decode())

    try:
        with ThreadPoolExecutor(1) as ahead:
            begun = [ahead.submit(begin, steps) for steps in stretches[:1]]
            for steps, following in zip(stretches, [*stretches[1:], None], strict=True):
                first, rest = begun.pop().result()
                for place, batch in enumerate(itertools.chain(first, rest), start=1):
                    if following and place == (len(steps) + 1) // 2:  # it takes seconds to begin, and none are lost so
                        begun.append(ahead.submit(begin, following))
                    yield batch
                if following and not begun:
                    begun.append(ahead.submit(begin, following))
    finally:
        if isinstance(shards, Lent):
            shards.lend(reader, ())


_Pipeline = tuple[list[dict[str, NDArray[Any]]], Iterator[dict[str, NDArray[Any]]]]


def _lent(shards: Lendable, reader: str, feed: Feed, steps: range, stop: int) -> Loan:
    """Return the shards that some steps read; those of the steps to come are read meanwhile."""
    if not isinstance(shards, Lent):
        return dict(enumerate(shards))
    loan = shards.lend(reader, feed.shards(range(steps.start, min(steps.stop + feed.steps_ahead, stop))))
    return {place: loan[place] for place in feed.shards(steps)}


def _begun(feed: Feed, loan: Loan, steps: range, prefetch: int | None, decode: Decode) -> _Pipeline:
    """Return the first batch of a stretch, and the others, from one pipeline.

    There may be none: a batch without images, which a worker has where others got the last ones, is passed over.

    It may decode all of them ahead, and no more: with a limit below that, Ray Data's scheduler polls without pause
    while it waits, and takes a core and the interpreter lock from training.
    """
    at_once = prefetch or int(on_ray.decoding_cpus(0, decode.resources, decode.labels) / decode.cpus) or 1
    pieces = _pieces(steps, at_once, max(1, _TASK_BYTES // max(1, feed.batch_bytes)))
    # Not ray.data.range: tasks of its own would each want a CPU, which nodes may not have beside a training worker.
    blocks = ray.data.from_arrow([pa.table({"id": [place]}) for place in range(len(pieces))]).map_batches(
        _load_batches,  # type: ignore[arg-type] # the stubs know no keyword arguments
        fn_kwargs={"feed": feed, "loan": loan, "pieces": pieces},
        concurrency=prefetch,
        num_cpus=decode.cpus,
        resources=decode.resources or None,
        label_selector=decode.labels or None,
    )
    rows = blocks.iter_batches(batch_size=None, prefetch_batches=2)
    found = (batch for block in rows for batch in _batches(block) if len(batch["pixels"]))
    return list(itertools.islice(found, 1)), found


def _pieces(steps: range, at_once: int, most: int) -> list[range]:
    """Return the steps of each task: one for those that all begin with, for whoever waits, then ever more.

    Args:
        at_once: tasks that run at the same time; all have several pieces of a stretch to do.
        most: steps in a piece.
    """
    found, first = list[range](), steps.start
    most = max(1, min(most, len(steps) // (4 * at_once)))
    while first < steps.stop:
        stop = min(first + min(1 + len(found) // at_once, most), steps.stop)
        found.append(range(first, stop))
        first = stop
    return found


def _batches(block: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the batches that a task decoded, a row each."""
    return (dict(zip(block, row, strict=True)) for row in zip(*block.values(), strict=True))


def _load_batches(block: Any, feed: Feed, loan: Loan, pieces: Sequence[range]) -> dict[str, NDArray[Any]]:
    """Return the batches of the piece that a block names, a row each."""
    _step_back()
    [piece] = block["id"]
    batches = [feed.load(step, lambda place: ray.get(loan[place])) for step in pieces[int(piece)]]
    return {name: _as_rows([batch[name] for batch in batches]) for name in batches[0]}


def _as_rows(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays, which may differ in shape, as the rows of a column."""
    rows = np.empty(len(arrays), dtype=object)
    for place, one in enumerate(arrays):
        rows[place] = one
    return rows


@functools.cache
def _step_back() -> None:
    """Decode on one thread and let everything else on this node go first, from now on in this process.

    Where training computes on the same cores, its threads wait for whichever of them was interrupted: decoding beside
    it at equal right, or on several threads of its own, slowed each step to a third.
    """
    os.nice(19)
    torch.set_num_threads(1)


def _examine(root: Root, experiment: Experiment, listing: pa.Table) -> Found:
    """Examine every image on all nodes, unless what was found of it is kept, and sift them."""
    pieces, shelf = cut.pieces(listing["key"].to_numpy(), _CHUNK), Shelf.of(root, experiment)
    asked = [_with(listing.slice(piece.start, piece.stop - piece.start), "bits", piece.bits) for piece in pieces]
    data = experiment.data

    def examine(rows: pa.Table) -> bytes:
        named, bits = list(references(rows)), rows["bits"][0].as_py()
        questions = check.questions(experiment, named)
        facts = shelf.facts(bits, stages.open_source(data.source), questions, data.limits)
        return Found.of(experiment, named, facts).packed()

    parts = (Found.unpacked(part) for part in done(examine, asked))
    found = joined(track(parts, "checking images", len(listing), lambda part: part.listed))
    shelf.tidy([piece.bits for piece in pieces])
    return found


def _with(rows: pa.Table, name: str, value: str) -> pa.Table:
    """Return rows with a column of one value."""
    return rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(rows)))


def _set_aside(root: Root, experiment: Experiment, plan: Plan) -> None:
    """Write what was set aside next to the dataset, tell of it, and stop when it is too much."""
    prepared = plan.dataset
    place = f"{prepared.path}/rejected.jsonl"
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in (*plan.rejected, *plan.set_aside))
    if not root.exists(place) or root.read_bytes(place) != lines.encode():
        root.write_bytes(place, lines.encode())
    for warning in prepared.report.warnings:
        say(f"warning: {warning}")
    stages.check_rejected(experiment, plan, root.shown(place))
    for found, of in (
        (prepared.report.rejected, f"{prepared.report.listed} images"),
        (prepared.report.set_aside, "the boxes and masks of these images"),
    ):
        if found:
            reasons = ", ".join(f"{count} {reason}" for reason, count in found.items())
            say(f"set aside {sum(found.values())} of {of} ({reasons}): {root.shown(place)}")


def _write(root: Root, experiment: Experiment, plan: Plan) -> None:
    """Write the shards that are missing, unless earlier datasets have them; then what makes the dataset exist."""
    prepared, data = plan.dataset, experiment.data
    written = set(root.list(prepared.path))
    new = _without_copied(root, prepared, [file for file in plan.rows if file not in written])
    tables = [_with(plan.rows.table(file), "file", file) for file in new]

    def write(rows: pa.Table) -> bytes:
        source, file = stages.open_source(data.source), rows["file"][0].as_py()
        try:
            table = shard_table(source, plain(rows), prepared.labels, data.reencode, data.limits)
        except DataError:  # what is kept of these images may be what is wrong
            Shelf.of(root, experiment).forget([key(image_id) for image_id in rows["id"].to_pylist()])
            raise
        dataset.write_shard(root, f"{prepared.path}/{file}", table)
        return len(rows).to_bytes(8)

    if new:
        images = sum(len(table) for table in tables)
        for _ in track(done(write, tables), "writing images", images, int.from_bytes):
            pass
    prepared.save(root)


def _without_copied(root: Root, prepared: Dataset, missing: Sequence[str]) -> list[str]:
    """Copy the shards that earlier datasets of this name have, or preparations that ended early; return the others."""
    folder, _, own = prepared.path.rpartition("/")
    others = [name for name in root.list(folder) if name.startswith(f"{prepared.name}-") and name != own]
    there = {file: f"{folder}/{name}/{file}" for name in others for file in root.list(f"{folder}/{name}")}
    copied = [file for file in missing if file in there]
    with ThreadPoolExecutor(_COPIES) as pool:
        for copy in [pool.submit(root.copy, there[file], f"{prepared.path}/{file}") for file in copied]:
            copy.result()
    if copied:
        say(f"{len(copied)} of {sum(map(len, prepared.splits.values()))} shards are those of earlier datasets")
    return [file for file in missing if file not in there]
