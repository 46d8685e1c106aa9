"""Preparing on Ray: from any folder of files to shards, losing nothing that is good."""

import json
from pathlib import Path

import pytest

import hostile
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.errors import DataError
from thaw.storage import open_root
from tiny import changed


@pytest.fixture(scope="module")
def mixed(experiment, tmp_path_factory):
    """Hostile files and good ones, in two classes."""
    folder = tmp_path_factory.mktemp("images")
    reasons = {}
    for label in ("left", "right"):
        (folder / label).mkdir()
        for name, reason in hostile.write(folder / label).items():
            reasons[f"{label}/{name}"] = reason
    source = {"type": "folder", "path": str(folder)}
    values = changed(experiment, name="mixed", data__source=source, data__max_rejected=1.0)
    return changed(values, tasks={"side": {"type": "classification", "column": "label"}}), reasons


def test_every_bad_file_is_set_aside_by_name_and_every_good_one_is_kept(mixed):
    experiment, reasons = mixed
    root = open_root(experiment.storage.root)
    prepared = data.prepare(experiment)
    lines = root.read_bytes(f"{prepared.path}/rejected.jsonl").decode().splitlines()
    rejected = {one["id"]: one["reason"] for one in map(json.loads, lines)}
    assert rejected == {name: reason for name, reason in reasons.items() if reason is not None}
    kept = {
        sample_id
        for split in prepared.splits.values()
        for shard in split
        for sample_id in dataset.read_shard(root, f"{prepared.path}/{shard.file}")["id"].to_pylist()
    }
    assert kept == {name for name, reason in reasons.items() if reason is None}
    assert prepared.report.listed == len(kept) + len(rejected)


def test_too_many_bad_files_stop_it_and_say_where_they_are_listed(mixed):
    experiment, _ = mixed
    with pytest.raises(DataError, match="more than the share of 0.05 allowed.*rejected.jsonl"):
        data.prepare(changed(experiment, data__max_rejected=0.05))


def test_preparing_the_same_again_writes_nothing(experiment, prepared):
    folder = Path(open_root(experiment.storage.root).path_of(prepared.path))
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert data.prepare(experiment) == prepared
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_an_interrupted_preparation_goes_on_to_the_same_dataset(experiment, prepared, tmp_path):
    elsewhere = changed(experiment, storage__root=str(tmp_path))
    assert data.prepare(elsewhere) == prepared
    folder = tmp_path / prepared.path
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "dataset.json").unlink()
    (folder / prepared.splits["train"][1].file).unlink()
    kept = (folder / prepared.splits["train"][0].file).stat().st_mtime_ns
    assert data.prepare(elsewhere) == prepared
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole
    assert (folder / prepared.splits["train"][0].file).stat().st_mtime_ns == kept


def test_the_stream_gives_exactly_the_feed_in_order(experiment, prepared):
    import numpy as np

    from thaw.training.run import feed_of

    root = open_root(experiment.storage.root)
    feed = feed_of(experiment, prepared, "train")
    shards = [dataset.read_shard(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits["train"]]
    data.quiet()
    refs = data.encoded_shards(root, prepared, "train")
    streamed = list(data.stream(feed, refs, start=3, stop=11, prefetch=4))
    assert len(streamed) == 8
    for step, batch in enumerate(streamed, start=3):
        expected = feed.load(step, shards.__getitem__)
        assert batch.keys() == expected.keys()
        assert all(np.array_equal(batch[name], expected[name]) for name in batch)
