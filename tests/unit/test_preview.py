"""A preview shows what training shows the model, and nothing that only looks like it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw import overlay, preview
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import check, dataset, prepare
from thaw.data.dataset import Dataset
from thaw.data.shards import shard_table
from thaw.errors import ConfigError
from thaw.storage import Root, open_root
from thaw.training import run
from thaw.truth import Truth, truths

BOARDS = {
    "name": "seen",
    "data": {"source": {"type": "boards", "images": 24, "size": 64}, "image": {"size": 64}, "shard_images": 8},
    "tasks": {
        "verdict": {"type": "classification"},
        "defects": {"type": "detection"},
        "copper": {"type": "segmentation"},
    },
    "train": {"batch": 4},
}
CLASSES = {"verdict": {"type": "classification"}, "layout": {"type": "classification"}}


def experiment(root: Root, tasks=BOARDS["tasks"], augment=None, views=None, **train) -> Experiment:
    data = BOARDS["data"] | ({"augment": augment} if augment else {})
    phases = [{"epochs": 1, "depth": 0, "views": views}]
    values = BOARDS | {"data": data, "tasks": tasks, "train": {"batch": 4, **train}, "finetune": {"phases": phases}}
    return load.parse(values | {"storage": {"root": root.uri}}, "test")


def prepared(root: Root, chosen: Experiment) -> Dataset:
    source = prepare.open_source(chosen.data.source)
    references = list(source.references())
    found = check.examine(source, check.questions(chosen, references), chosen.data.limits)
    plan = prepare.plan(chosen, references, list(found))
    for file, rows in plan.rows.items():
        table = shard_table(source, rows, plan.dataset.labels, None, chosen.data.limits)
        dataset.write_shard(root, f"{plan.dataset.path}/{file}", table)
    return plan.dataset


@pytest.fixture
def store(tmp_path) -> Root:
    return open_root(str(tmp_path / "store"))


def shown(root: Root, chosen: Experiment, images=3, views=4):
    described = prepared(root, chosen)
    return described, list(preview.shown(root, chosen, described, images, views))


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"workers": 2},
        {"sampling": "uniform"},
        {"tasks": {"defects": {"type": "detection"}}, "augment": {"copy_paste": 1.0}},
        {"tasks": CLASSES, "augment": {"mixup": 0.4, "cutmix": 1.0}},
    ],
    ids=str,
)
def test_every_view_is_a_row_of_a_batch_of_training(places, store):
    chosen = experiment(store, **places)
    described, found = shown(store, chosen)
    shards = [dataset.read_shard(store, f"{described.path}/{one.file}") for one in described.splits["train"]]
    drawn_by = run.chances(store, chosen, described)
    feeds = [run.feed_of(chosen, described, "train", worker, drawn_by) for worker in range(chosen.train.workers)]
    epochs = {view.when for one in found for view in one.views[1:]}
    trained = {when: set() for when in epochs}
    for when in epochs:
        first = (int(when.removeprefix("epoch ")) - 1) * feeds[0].epoch_steps
        for step in range(first, first + feeds[0].epoch_steps):
            for feed in feeds:
                batch = feed.load(step, shards.__getitem__)
                carried = truths(feed.labels, batch)
                trained[when] |= {
                    (pixels.transpose(1, 2, 0).tobytes(), told(truth))
                    for pixels, truth in zip(batch["pixels"], carried, strict=True)
                }
    for one in found:
        assert len(one.views) == 5
        assert all((view.pixels.tobytes(), told(view.truth)) in trained[view.when] for view in one.views[1:])


def told(truth) -> str:
    return json.dumps({task: [one.summary(), repr(one.marks())] for task, one in truth.items()})


def test_the_first_view_is_the_image_as_it_is_when_it_is_read(store):
    chosen = experiment(store)
    described, found = shown(store, chosen)
    reading = replace(run.feed_of(chosen, described, "train"), augment=None)
    shards = [dataset.read_shard(store, f"{described.path}/{one.file}") for one in described.splits["train"]]
    plain = [reading.load(step, shards.__getitem__)["pixels"] for step in range(reading.epoch_steps)]
    known = {pixels.transpose(1, 2, 0).tobytes() for pixels in np.concatenate(plain)}
    assert all(one.views[0].when == "unchanged" and one.views[0].pixels.tobytes() in known for one in found)


def test_where_views_take_turns_no_more_are_shown_than_there_are(store):
    _, found = shown(store, experiment(store, views=2), views=4)
    for one in found:
        assert len(one.views) <= 3
        assert len({view.pixels.tobytes() for view in one.views}) == len(one.views)


def test_images_are_of_the_training_split_and_the_same_for_the_same_seed(store):
    chosen = experiment(store)
    described, found = shown(store, chosen)
    train = [dataset.read_shard(store, f"{described.path}/{one.file}") for one in described.splits["train"]]
    assert {one.id for one in found} <= {name for table in train for name in table["id"].to_pylist()}
    again = list(preview.shown(store, chosen, described, 3, 4))
    assert [one.id for one in again] == [one.id for one in found]
    assert len(list(preview.shown(store, chosen, described, 999, 1))) == sum(len(table) for table in train)


def test_the_sheet_has_every_view_with_what_it_carries(store, tmp_path):
    described, found = shown(store, experiment(store))
    sheet = preview.sheet(found, overlay.palette(described.labels))
    preview.write(sheet, tmp_path / "deep" / "sheet.png")
    with Image.open(tmp_path / "deep" / "sheet.png") as image:
        assert image.size == sheet.size
    alone = preview.sheet(found[:1], overlay.palette(described.labels))
    assert sheet.width == alone.width
    assert sheet.height > 2 * alone.height
    first = np.asarray(overlay.draw(found[0].views[0].pixels, found[0].views[0].truth, None, preview.MANNER))
    assert first.shape[1] < alone.width / 5


def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"--out: .*sheet\.png cannot be written"):
        preview.write(Image.new("RGB", (1, 1)), Path(tmp_path / "file" / "sheet.png"))


def test_shares_of_a_mixture_are_told_by_size_and_what_is_hardly_there_is_not(store):
    described = prepared(store, experiment(store, tasks=CLASSES))
    schema = described.labels["verdict"]
    names = schema.names
    mixed = Truth.of(schema, np.array([0.25, 0.75], dtype=np.float32))
    assert list(mixed.summary().items()) == [(names[1], "75%"), (names[0], "25%")]
    assert mixed.marks().boxes == ()
    assert list(Truth.of(schema, np.array([1.0, 0.001], dtype=np.float32)).summary()) == [names[0]]
    batch = {"pixels": np.zeros((2, 3, 4, 4), np.uint8), "target.verdict": np.array([[-1, -1], [0, 1]], np.float32)}
    assert [list(one["verdict"].summary()) for one in truths({"verdict": schema}, batch)] == [["no label"], [names[1]]]
