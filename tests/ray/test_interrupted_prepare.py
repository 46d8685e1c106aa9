"""Preparing that is killed, together with its Ray, ends as it would have undisturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from test_prepare_on_ray import of_folder, photographs

from thaw.config import load
from thaw.storage import open_root

_IMAGES, _KILLS = 1500, 10
_PREPARE = "from thaw.cli import run; run()"


def begun(experiment, folder):
    """Begin to prepare in a process with a Ray of its own."""
    place = folder / f"{Path(experiment.storage.root).name}.yaml"
    place.write_text(load.dump(experiment))
    command = [sys.executable, "-c", _PREPARE, "prepare", str(place), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def files_in(store):
    return {file for file in Path(store).rglob("*") if file.is_file() and not file.name.startswith(".")}


def kill(process):
    """Kill a process and everything that it started."""
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            os.kill(one.pid, signal.SIGKILL)
    process.communicate()


def disturb(process, store, moment):
    """Kill a preparation at some moment: when it begins, or once it has kept some more; return whether it was alive."""
    more, before = moment.randrange(4), len(files_in(store))
    deadline = time.monotonic() + 240
    while more and process.poll() is None and len(files_in(store)) < before + more:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(moment.uniform(0, 0.2 if more else 8))
    alive = process.poll() is None
    if alive:
        kill(process)
    return alive


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_preparing_that_is_killed_ten_times_ends_as_if_undisturbed(experiment, tmp_path):
    photographs(tmp_path / "images", 0, _IMAGES)
    alone, disturbed = (
        of_folder(experiment, tmp_path / "images", tmp_path / name, data__shard_images=16) for name in ("a", "b")
    )
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    moment, killed = random.Random(time.time_ns()), 0
    while killed < _KILLS and disturb(begun(disturbed, tmp_path / "b"), disturbed.storage.root, moment):
        killed += 1
    assert killed == _KILLS
    ends = [begun(one, tmp_path / place) for one, place in ((alone, "a"), (disturbed, "b"))]
    found = [json.loads(end.communicate()[0]) for end in ends]
    assert found[0] == found[1]
    roots = [open_root(one.storage.root) for one in (alone, disturbed)]
    names = [root.list(found[0]["path"]) for root in roots]
    assert names[0] == names[1]
    assert len(names[0]) > 50
    for name in names[0]:
        contents = [root.read_bytes(f"{found[0]['path']}/{name}") for root in roots]
        assert contents[0] == contents[1], name
