"""Preparing on Ray: from any folder of files to shards, losing nothing that is good."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

import hostile
from actors import killed
from thaw import on_ray
from thaw.data import dataset
from thaw.data import on_ray as data
from thaw.data.lending.on_ray import Lent
from thaw.data.pieces.on_ray import quiet
from thaw.errors import ClusterError, DataError
from thaw.storage import open_root
from thaw.training import on_ray as training
from thaw.training.run import feed_of
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


def photographs(folder, first, count):
    """Draw small images in two classes."""
    for index in range(first, first + count):
        place = folder / "ab"[index % 2] / f"{index:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)


def of_folder(experiment, folder, tmp_path, **changes):
    places = {"data__source": {"type": "folder", "path": str(folder)}, "storage__root": str(tmp_path / "store")}
    tasks = {"side": {"type": "classification", "column": "label"}}
    return changed(experiment, tasks=tasks, **places, **changes)


def test_images_that_are_added_rewrite_only_the_shards_that_they_come_into(experiment, tmp_path):
    folder = tmp_path / "images"
    photographs(folder, 0, 120)
    chosen = of_folder(experiment, folder, tmp_path, data__shard_images=8)
    before = data.prepare(chosen)
    photographs(folder, 120, 1)
    after = data.prepare(chosen)
    assert after.path != before.path
    store = tmp_path / "store"
    kept = {file.name for file in (store / before.path).glob("*.parquet") if (store / after.path / file.name).exists()}
    shards = [shard.file for side in after.splits.values() for shard in side]
    assert len(shards) - len(kept - {"facts.parquet"}) <= 5
    for name in kept & set(shards):  # the same file on disk, not written again
        assert (store / before.path / name).stat().st_ino == (store / after.path / name).stat().st_ino
    alone = data.prepare(changed(chosen, storage__root=str(tmp_path / "elsewhere")))
    assert alone == after
    for name in root_files(tmp_path / "elsewhere", alone):
        assert (tmp_path / "elsewhere" / alone.path / name).read_bytes() == (store / after.path / name).read_bytes()


def test_images_in_an_object_store_make_the_same_dataset_as_on_a_disk(experiment, s3_uri, tmp_path):
    folder = tmp_path / "images"
    photographs(folder, 0, 40)
    here = data.prepare(of_folder(experiment, folder, tmp_path))
    root = open_root(s3_uri)
    root.upload(folder, "images")
    chosen = of_folder(experiment, root.uri_of("images"), tmp_path / "elsewhere")
    assert data.prepare(chosen) == here


def root_files(store, prepared):
    return open_root(str(store)).list(prepared.path)


def test_an_image_that_changes_while_the_dataset_is_prepared_is_refused_once(experiment, tmp_path):
    folder = tmp_path / "images"
    photographs(folder, 0, 40)
    chosen = of_folder(experiment, folder, tmp_path)
    data.prepare(chosen)
    [piece] = (tmp_path / "store" / "examined").rglob("*.parquet")
    rows = pq.read_table(piece).to_pylist()
    for row in rows:  # as if the files had changed behind the back of their stamps
        row["fact"] = json.dumps(json.loads(row["fact"]) | {"sha256": "0" * 64})
    pq.write_table(pa.Table.from_pylist(rows), piece)
    with pytest.raises(DataError, match="changed while the dataset was being prepared"):
        data.prepare(chosen)
    data.prepare(chosen)


def test_the_stream_gives_exactly_the_feed_in_order(experiment, prepared):
    root = open_root(experiment.storage.root)
    feed = feed_of(experiment, prepared, "train")
    shards = [dataset.read_shard(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits["train"]]
    quiet()
    refs = data.encoded_shards(root, prepared, "train")
    streamed = list(data.stream(feed, refs, start=3, stop=11, prefetch=4))
    assert len(streamed) == 8
    for step, batch in enumerate(streamed, start=3):
        expected = feed.load(step, shards.__getitem__)
        assert batch.keys() == expected.keys()
        assert all(np.array_equal(batch[name], expected[name]) for name in batch)


@pytest.mark.parametrize(("steps", "at_once", "most"), [(64, 2, 6), (8, 1, 100), (5, 16, 6), (1, 1, 1)])
def test_tasks_decode_every_step_once_and_the_first_ones_are_soon_done(steps, at_once, most):
    pieces = data._pieces(range(10, 10 + steps), at_once, most)
    assert [step for piece in pieces for step in piece] == list(range(10, 10 + steps))
    assert all(len(piece) == 1 for piece in pieces[:at_once])
    assert max(map(len, pieces)) <= most
    assert len(pieces) >= min(steps, 4 * at_once)


def streamed(experiment, prepared, split="train", **places):
    """Return the batches of a split, as they come and as the feed has them, and how its shards are held."""
    root, chosen = open_root(experiment.storage.root), changed(experiment, **places)
    feed = feed_of(chosen, prepared, split)
    shards = [dataset.read_shard(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits[split]]
    quiet()
    held = data.lent_shards(root, prepared, split, chosen.train)
    steps = 3 * feed.epoch_steps
    found = list(data.stream(feed, held, 0, steps, 2, chosen.train.decode))
    assert len(found) == steps
    for step, batch in enumerate(found):
        expected = feed.load(step, shards.__getitem__)
        assert all(np.array_equal(batch[name], expected[name]) for name in batch)
    return feed, held


@pytest.fixture(scope="module")
def large(experiment, tmp_path_factory):
    """A dataset that says that it is larger than what is held at the same time."""
    folder = tmp_path_factory.mktemp("large")
    photographs(folder / "images", 0, 160)
    chosen = of_folder(experiment, folder / "images", folder, data__shard_images=8)
    prepared = data.prepare(chosen)
    splits = {
        split: tuple(shard.model_copy(update={"bytes": 4 * 2**20}) for shard in shards)
        for split, shards in prepared.splits.items()
    }
    return chosen, prepared.model_copy(update={"splits": splits})


@pytest.mark.parametrize("split", ["train", "val"])
def test_of_a_split_that_is_larger_only_what_is_about_to_be_read_is_there(split, large):
    experiment, prepared = large
    feed, held = streamed(experiment, prepared, split, train__shuffle_mb=16, data__augment__mixup=0.2)
    assert isinstance(held, Lent)
    if split == "train":
        assert feed.window < feed.images / 3
    assert held.lend("nobody", ()) == {}


def test_a_split_that_fits_is_held_and_shuffled_whole(large):
    feed, held = streamed(*large)
    assert feed.window is None
    assert not isinstance(held, Lent)


def test_shards_are_lent_to_many_readers_until_nobody_wants_them(large):
    experiment, prepared = large
    root = open_root(experiment.storage.root)
    held = data.lent_shards(root, prepared, "train", changed(experiment, train__shuffle_mb=16).train)
    first, again = held.lend("one", [0, 1]), held.lend("two", [1, 2])
    assert first[1] == again[1]  # read once for both
    rows = ray.get(first[0])
    assert rows.equals(dataset.read_shard(root, f"{prepared.path}/{prepared.splits['train'][0].file}"))
    held.lend("one", [2])
    assert held.lend("one", [0])[0] != first[0]  # was let go meanwhile
    assert held.lend("one", [1])[1] == first[1]


def test_a_librarian_that_is_gone_stops_nobody(large):
    experiment, prepared = large
    root = open_root(experiment.storage.root)
    held = data.lent_shards(root, prepared, "train", changed(experiment, train__shuffle_mb=16).train)
    killed(held._librarian, "lend", "one", [3])
    assert ray.get(held.lend("one", [3])[3]).num_rows == prepared.splits["train"][3].rows


def test_images_are_decoded_where_the_labels_and_resources_are(large):
    node = ray.get_runtime_context().get_node_id()
    decode = {"labels": {"ray.io/node-id": f"in({node})"}, "resources": {"node:__internal_head__": 0.001}}
    streamed(*large, train__decode=decode)
    assert on_ray.decoding_cpus(0, decode["resources"], decode["labels"]) == on_ray.num_cpus()
    assert on_ray.decoding_cpus(2, {}, {"ray.io/node-id": "!other"}) == on_ray.num_cpus() - 2


@pytest.mark.parametrize("place", [{"labels": {"role": "data"}}, {"resources": {"decoder": 1}}])
def test_where_nothing_can_be_decoded_that_is_said_at_once(place, large):
    experiment, prepared = large
    with pytest.raises(ClusterError, match="on 1 node.*no room for .*(role: data|1 decoder)"):
        training.train(changed(experiment, train__decode=place), prepared)
