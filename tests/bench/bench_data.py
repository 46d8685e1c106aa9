"""Data: the Ray Data path against a torch DataLoader, and its memory as a dataset grows.

    python tests/bench/bench_data.py [--rounds 3] [--images 1600] [--sizes 1000 10000 100000] [--only speed|memory]

Speed: both see the same encoded images through the same decoder, augmentation and preprocessing at 224 px, in as many
processes as there are cores, and hand them to somebody who does nothing with them. They take turns. The DataLoader's
processes run at the lowest priority, as Ray Data's do, so that whatever else the machine does burdens both alike.
``ray_data_vs_dataloader`` compares images per second from the first batch on to the last; the seconds until the first
batch came are told beside it. Images come from ``THAW_DATA``/grocery where it is set, else they are generated.

Memory: for each size a process of its own prepares a dataset of so many little pictures, which are links to a few, and
streams one epoch of it, with windows of 16 MiB. What counts is the largest memory of the driver, and of any worker,
beside the object store, which has a bound of its own and is told by itself. ``memory_100k_over_1k`` is the worse ratio
of the two between the largest and the smallest size. The last line of stdout is one JSON object.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import ray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from thaw import on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.feed import Feed
from thaw.data.pieces.on_ray import quiet
from thaw.storage import open_root
from thaw.training.run import feed_of

EPOCHS = 3
DRAWN = 64  # pictures that many are links to
CORES = on_ray.cores()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1600, help="photographs that speed is measured on")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(memory_of(options.one)))
        return
    found: dict[str, Any] = {}
    if options.only != "memory":
        found |= speed(options.rounds, options.images)
    if options.only != "speed":
        found |= memory(options.sizes)
    print(json.dumps(found))


def speed(rounds: int, images: int) -> dict[str, Any]:
    """Let both take turns, and return the medians."""
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as root, on_ray.cluster():
        chosen = of_photographs(root, images)
        prepared = data.prepare(chosen)
        feed = feed_of(chosen, prepared, "train")
        shards = [
            dataset.read_shard(open_root(root), f"{prepared.path}/{one.file}") for one in prepared.splits["train"]
        ]
        quiet()
        held = data.lent_shards(open_root(root), prepared, "train", chosen.train)
        turns = []
        for turn in range(rounds):
            loader = timed(of_loader(feed, shards))
            streamed = timed(data.stream(feed, held, 0, EPOCHS * feed.epoch_steps, None))
            turns.append((loader, streamed))
            told = f"DataLoader {loader}, Ray Data {streamed} (images/s, s to the first batch)"
            say(f"turn {turn}: {told}; load {os.getloadavg()[0]:.1f}")
    return {
        "ray_data_vs_dataloader": median(streamed[0] / loader[0] for loader, streamed in turns),
        "images_per_s": {
            "ray_data": median(streamed[0] for _, streamed in turns),
            "dataloader": median(loader[0] for loader, _ in turns),
        },
        "first_batch_s": {
            "ray_data": median(streamed[1] for _, streamed in turns),
            "dataloader": median(loader[1] for loader, _ in turns),
        },
        "cores": CORES,
        "load": round(os.getloadavg()[0], 1),
    }


def timed(batches: Iterable[Any]) -> tuple[float, float]:
    """Return images per second after the first batch, and the seconds until it came."""
    started, images, first = time.perf_counter(), 0, 0.0
    for batch in batches:
        if not first:
            first = time.perf_counter() - started
        else:
            images += len(batch["pixels"])
    return round(images / (time.perf_counter() - started - first), 1), round(first, 2)


def of_loader(feed: Feed, shards: list[pa.Table]) -> Iterable[Any]:
    """Yield some epochs as most scripts have them."""
    images = Images(feed, shards)
    loader = DataLoader(
        images,
        feed.batch,
        shuffle=True,
        drop_last=True,
        num_workers=CORES,
        persistent_workers=True,
        worker_init_fn=lambda _: os.nice(19) and None,
    )
    for _ in range(EPOCHS):
        yield from loader


class Images(Dataset[Any]):
    """The training images by place."""

    def __init__(self, feed: Feed, shards: list[pa.Table]) -> None:
        self.feed, self.shards = replace(feed, batch=1), shards

    def __len__(self) -> int:
        return self.feed.images

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {name: value[0] for name, value in self.feed.load(place, self.shards.__getitem__).items()}


def of_photographs(root: str, images: int) -> Experiment:
    """About so many photographs, spread over all classes of a set; four fifths of them are trained on."""
    source: dict[str, Any] = {"type": "boards", "images": images, "size": 256}
    tasks: dict[str, Any] = {"verdict": {"type": "classification"}}
    if os.environ.get("THAW_DATA"):
        grocery, table = Path(os.environ["THAW_DATA"]) / "grocery", Path(root) / "images" / "some.csv"
        lines = (grocery / "train.csv").read_text().splitlines()
        table.parent.mkdir(parents=True)
        (table.parent / "train").symlink_to(grocery / "train")
        table.write_text("\n".join([lines[0], *lines[1 :: max(1, round(len(lines) / images))]]) + "\n")
        source, tasks = {"type": "table", "path": str(table)}, {"category": {"type": "classification"}}
    split = {"given": False, "val": 0.1, "test": 0.1}
    return experiment(root, source, tasks, split=split, image={"size": 224})


def experiment(root: str, source: dict[str, Any], tasks: dict[str, Any], **values: Any) -> Experiment:
    """Return an experiment on one training process."""
    train = {"batch": 32, "device": "cpu", "shuffle_mb": values.pop("shuffle_mb", 1024)}
    made = {"name": "bench", "data": {"source": source, **values}, "tasks": tasks, "train": train}
    return load.parse(made | {"storage": {"root": root}}, "bench")


def memory(sizes: list[int]) -> dict[str, Any]:
    """Return what each size takes, in MiB, and the ratio of the last to the first."""
    found = {}
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        found[size] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        say(f"{size} images: {found[size]}; load {os.getloadavg()[0]:.1f}")
    first, last = found[sizes[0]], found[sizes[-1]]
    ratios = {who: round(last[who] / first[who], 3) for who in ("driver", "worker")}
    return {"memory_100k_over_1k": max(ratios.values()), "memory_ratios": ratios, "memory_mib": found}


def memory_of(size: int) -> dict[str, Any]:
    """Prepare and stream a dataset of so many pictures, and return the most memory that it took, in MiB."""
    with tempfile.TemporaryDirectory(prefix="thaw-bench-") as folder, on_ray.cluster(), Watch() as watch:
        link_pictures(Path(folder) / "images", size)
        source = {"type": "folder", "path": f"{folder}/images"}
        tasks = {"kind": {"type": "classification", "column": "label"}}
        chosen = experiment(f"{folder}/store", source, tasks, image={"size": 64}, shuffle_mb=16)
        started = time.perf_counter()
        prepared = data.prepare(chosen)
        between = time.perf_counter()
        feed = feed_of(chosen, prepared, "train")
        quiet()
        held = data.lent_shards(open_root(chosen.storage.root), prepared, "train", chosen.train)
        images = sum(len(batch["pixels"]) for batch in data.stream(feed, held, 0, feed.epoch_steps, None))
        done = time.perf_counter()
    rates = {"prepared_per_s": size / (between - started), "streamed_per_s": images / (done - between)}
    return {**watch.most(), **{name: round(value) for name, value in rates.items()}}


def link_pictures(folder: Path, size: int) -> None:
    """Make a folder of pictures in two classes, which are links to a few."""
    contents = []
    for index in range(DRAWN):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((80, 72)).save(buffer, "JPEG")
        contents.append(buffer.getvalue())
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
    for index in range(size):
        place = folder / "ab"[index % 2] / f"photograph_{index:06d}.jpg"
        if index < DRAWN:
            place.write_bytes(contents[index])
        else:
            place.hardlink_to(folder / "ab"[index % DRAWN % 2] / f"photograph_{index % DRAWN:06d}.jpg")


class Watch:
    """Looks at the memory of this process and of Ray's, again and again."""

    def __enter__(self) -> "Watch":
        self._most = dict.fromkeys(("driver", "worker", "store"), 0)
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._look, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def most(self) -> dict[str, int]:
        """Return the most MiB that the driver, any worker, and the object store took."""
        return {who: value // 1024 for who, value in self._most.items()}

    def _look(self) -> None:
        whole = int(ray.cluster_resources()["object_store_memory"])
        while not self._over.wait(0.2):
            self._see("driver", os.getpid())
            self._keep("store", (whole - int(ray.available_resources().get("object_store_memory", 0))) // 1024)
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if " ".join(process.cmdline()[:1]).startswith("ray::"):
                        self._see("worker", process.pid)

    def _see(self, who: str, pid: int) -> None:
        """Keep what a process has for itself: neither the object store nor the code of libraries."""
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
            self._keep(who, values["RssAnon"])

    def _keep(self, who: str, kib: int) -> None:
        self._most[who] = max(self._most[who], kib)


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
