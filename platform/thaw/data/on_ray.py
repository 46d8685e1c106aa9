"""The data stage on Ray: preparing a dataset on all nodes, and streaming decoded batches to a training worker.

What is done to an image stands in the modules beside this one; here is only where it runs.
"""

import functools
import itertools
import json
import logging
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import ray
import ray.data
import torch
from numpy.typing import NDArray

from thaw import on_ray
from thaw.config.experiment import Experiment, Limits
from thaw.console import say, track
from thaw.data import check, dataset, facts, split_file
from thaw.data import prepare as stages
from thaw.data.dataset import Dataset
from thaw.data.feed import Feed
from thaw.data.prepare import Plan
from thaw.data.shards import shard_table
from thaw.data.sources.contract import Reference
from thaw.storage import Root, open_root

_CHUNK = 64
"""Images that one task checks: enough to pay for starting it, few enough to show progress."""

_STRETCH = 64
"""Most steps that one Ray Data pipeline covers, and so the most batches that it decodes ahead; the next one begins
while half of it is left. Its scheduler looks at every task that is left, over and over: 1,300 took most of a core."""

_AHEAD_BYTES = 2**29
"""Most bytes of batches that one pipeline covers; at least `_LEAST` batches whatever their size."""
_LEAST = 8


def prepare(experiment: Experiment) -> Dataset:
    """Bring the experiment's images into Parquet shards, unless exactly these are there already.

    Raises:
        DataError: the source cannot be read, labels do not fit, or too many images had to be set aside.
        StorageError: the storage root cannot be written.
    """
    on_ray.check_shared(experiment.storage.root)
    root = open_root(experiment.storage.root)
    source = stages.open_source(experiment.data.source)
    references = list(split_file.put_on(source.references(), experiment.data.split.file))
    stages.check_columns(experiment, references)
    with on_ray.cluster():
        plan = stages.plan(experiment, references, _examine(experiment, references))
        _set_aside(root, experiment, plan)
        if not root.exists(f"{plan.dataset.path}/{facts.FILE}"):
            facts.write(root, plan.dataset.path, plan.facts)
        if root.exists(f"{plan.dataset.path}/dataset.json"):
            say(f"dataset {plan.dataset.path} is up to date")
        else:
            _write(root, experiment, plan)
    return plan.dataset


def encoded_shards(root: Root, prepared: Dataset, split: str) -> list["ray.ObjectRef[pa.Table]"]:
    """Return the encoded rows of a split in the object store, one reference a shard, read on any node.

    Without a CPU of its own: what training processes wait for must not wait for the CPUs that they hold.
    """
    read = ray.remote(_read_shard).options(num_cpus=0)
    return [read.remote(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits[split]]


def decoded_shards(root: Root, prepared: Dataset, split: str, limits: Limits) -> list["ray.ObjectRef[pa.Table]"]:
    """Return the rows of a split with their images decoded, once for all who read them; see `encoded_shards`."""
    read = ray.remote(_read_bitmaps).options(num_cpus=0)
    return [read.remote(root, f"{prepared.path}/{shard.file}", limits) for shard in prepared.splits[split]]


def _read_bitmaps(root: Root, path: str, limits: Limits) -> pa.Table:
    return dataset.as_bitmaps(dataset.read_shard(root, path), limits)


def _read_shard(root: Root, path: str) -> pa.Table:
    """Read a shard; being of this module, it makes its process load what decoding will need, while models are built."""
    return dataset.read_shard(root, path)


def stream(
    feed: Feed, shards: Sequence["ray.ObjectRef[pa.Table]"], start: int, stop: int, prefetch: int
) -> Generator[dict[str, NDArray[Any]]]:
    """Yield the batches of steps ``start`` to ``stop``, decoded and augmented by Ray Data ahead of their use.

    Args:
        shards: what `encoded_shards` returned, in the feed's order.
        prefetch: batches decoded at the same time.
    """
    length = max(_LEAST, min(_STRETCH, _AHEAD_BYTES // feed.batch_bytes))
    stretches = [range(first, min(first + length, stop)) for first in range(start, stop, length)]
    with ThreadPoolExecutor(1) as ahead:
        begun = [ahead.submit(_begun, feed, shards, steps, prefetch) for steps in stretches[:1]]
        for steps, following in zip(stretches, [*stretches[1:], None], strict=True):
            first, rest = begun.pop().result()
            for place, batch in enumerate(itertools.chain(first, rest), start=1):
                if following and place == (len(steps) + 1) // 2:  # it takes seconds to begin, and none are lost so
                    begun.append(ahead.submit(_begun, feed, shards, following, prefetch))
                yield batch
            if following and not begun:
                begun.append(ahead.submit(_begun, feed, shards, following, prefetch))


def _begun(
    feed: Feed, shards: Sequence["ray.ObjectRef[pa.Table]"], steps: range, prefetch: int
) -> tuple[list[dict[str, NDArray[Any]]], Iterator[dict[str, NDArray[Any]]]]:
    """Return the first batch of a stretch, and the others, from one pipeline with a task a step.

    There may be none: Ray Data passes over a batch without images, which a worker has where others got the last ones.

    It may decode all of them ahead, and no more: with a limit below that, Ray Data's scheduler polls without pause
    while it waits, and takes a core and the interpreter lock from training.
    """
    batches = ray.data.range(len(steps), override_num_blocks=len(steps)).map_batches(
        _load_batch,  # type: ignore[arg-type] # the stubs know no keyword arguments
        fn_kwargs={"feed": feed, "shards": list(shards), "start": steps.start},
        concurrency=prefetch,
    )
    found = iter(batches.iter_batches(batch_size=None, prefetch_batches=2))
    return list(itertools.islice(found, 1)), found


def quiet() -> None:
    """Keep Ray Data's bars and plans out of the logs of this process and its datasets, and its batches in order."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # it warns that bars are off
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.target_max_block_size = None  # else a large batch would be cut up, and each piece taken for a batch
    context.execution_options.verbose_progress = False


def _load_batch(
    block: Any, feed: Feed, shards: Sequence["ray.ObjectRef[pa.Table]"], start: int
) -> dict[str, NDArray[Any]]:
    """Return the batch of the one step in a block."""
    _step_back()
    [step] = block["id"]
    return feed.load(int(step) + start, lambda place: ray.get(shards[place]))


@functools.cache
def _step_back() -> None:
    """Decode on one thread and let everything else on this node go first, from now on in this process.

    Where training computes on the same cores, its threads wait for whichever of them was interrupted: decoding beside
    it at equal right, or on several threads of its own, slowed each step to a third.
    """
    os.nice(19)
    torch.set_num_threads(1)


def _examine(experiment: Experiment, references: Sequence[Reference]) -> list[check.Row]:
    """Check every image on all nodes."""
    asked = [one.model_dump() for one in check.questions(experiment, references)]
    # as text, because Arrow would make one type of what differs from image to image
    chunks = [{"asked": json.dumps(asked[first : first + _CHUNK])} for first in range(0, len(asked), _CHUNK)]
    data = experiment.data

    def examine(chunk: dict[str, str]) -> list[dict[str, str]]:
        questions = [check.Question.model_validate(one) for one in json.loads(chunk["asked"])]
        found = check.examine(stages.open_source(data.source), questions, data.limits)
        return [{"fact": json.dumps(fact)} for fact in found]

    quiet()
    rows = ray.data.from_items(chunks, override_num_blocks=len(chunks)).flat_map(examine).iter_rows()
    return [json.loads(row["fact"]) for row in track(rows, "checking images", len(asked))]


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
    """Write the shards that are missing on all nodes, then the description that makes the dataset exist."""
    prepared, data = plan.dataset, experiment.data
    shards = [
        {"file": f"{prepared.path}/{file}", "rows": json.dumps(rows)}
        for file, rows in plan.rows.items()
        if not root.exists(f"{prepared.path}/{file}")
    ]

    def write(shard: dict[str, str]) -> dict[str, int]:
        rows = json.loads(shard["rows"])
        source = stages.open_source(data.source)
        table = shard_table(source, rows, prepared.labels, data.reencode, data.limits)
        dataset.write_shard(root, shard["file"], table)
        return {"rows": len(rows)}

    if shards:
        written = ray.data.from_items(shards, override_num_blocks=len(shards)).map(write).iter_rows()
        for _ in track(written, "writing shards", len(shards)):
            pass
    prepared.save(root)
