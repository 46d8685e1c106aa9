"""From any folder to an experiment that loads, says why it is so, and trains as it is."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from layouts import SETS, csv, lines, pictures, write

from thaw import catalog, cli
from thaw.config import load
from thaw.config.experiment import Limits
from thaw.data import check, prepare
from thaw.data.feed import Feed
from thaw.data.shards import shard_table
from thaw.errors import ConfigError, DataError
from thaw.starting import start
from thaw.storage import open_root
from thaw.training import run

TASKS = {
    "folder": {"label": "classification"},
    "table": {"kind": "classification", "parts": "detection", "mask": "segmentation"},
    "coco": {"boxes": "detection", "mask": "segmentation"},
    "voc": {"boxes": "detection"},
    "yolo": {"boxes": "detection"},
    "masks": {"mask": "segmentation"},
}
TINY = ["model.backbone=test_efficientnet", "model.weights.source=none", "data.image.size=64"]


def begun(folder, files, **options):
    return start.start(str(write(folder, files)), **options)


def _prepared(experiment):
    """Return the dataset of an experiment and the shards of its training images, prepared in this process."""
    source = prepare.open_source(experiment.data.source)
    references = list(source.references())
    facts = list(check.examine(source, check.questions(experiment, references), Limits()))
    planned = prepare.plan(experiment, references, facts)
    assert (planned.rejected, planned.set_aside) == ([], [])
    shards = [
        shard_table(source, planned.rows[shard.file], planned.dataset.labels, None, Limits())
        for shard in planned.dataset.splits["train"]
    ]
    return planned.dataset, shards


def test_every_format_that_is_recognised_is_tried_here():
    known = {name for name in catalog.names("data.sources") if hasattr(catalog.part("data.sources", name), "recognise")}
    assert set(SETS) == set(TASKS) == known


@pytest.mark.parametrize("kind", SETS)
def test_a_folder_in_an_object_store_is_described_as_on_a_disk(kind, tmp_path, s3_uri):
    here = write(tmp_path / kind, SETS[kind])
    root = open_root(s3_uri)
    root.upload(here, f"started/{kind}")
    started, there = start.start(str(here)), start.start(root.uri_of(f"started/{kind}"))
    assert there.assumed == started.assumed
    source = started.experiment.data.source.model_copy(update={"path": root.uri_of(f"started/{kind}")})
    data = started.experiment.data.model_copy(update={"source": source})
    assert there.experiment == started.experiment.model_copy(update={"data": data})


@pytest.mark.parametrize("kind", SETS)
def test_what_is_written_loads_prepares_and_makes_a_model_and_batches(kind, tmp_path):
    started = begun(tmp_path / "set", SETS[kind])
    out = tmp_path / "set.yaml"
    start.write(started, out)
    experiment = load.load(out)
    assert experiment == started.experiment
    assert (experiment.name, experiment.data.source.type) == ("set", kind)
    assert {name: task.type for name, task in experiment.tasks.items()} == TASKS[kind]
    tiny = load.load(out, [*TINY, f"storage.root={tmp_path}"])
    dataset, shards = _prepared(tiny)
    for shard, described in zip(shards, dataset.splits["train"], strict=True):
        prepare.dataset.write_shard(open_root(tiny.storage.root), f"{dataset.path}/{described.file}", shard)
    run.check(open_root(tiny.storage.root), tiny, dataset)
    feed: Feed = run.feed_of(tiny, dataset, "train")
    batch = feed.load(0, shards.__getitem__)
    assert batch["pixels"].shape == (tiny.train.batch, 3, 64, 64)
    assert set(batch) == {"pixels", *(f"target.{name}" for name in TASKS[kind])}


@pytest.mark.parametrize("kind", SETS)
def test_every_group_of_settings_has_its_reason_above_it(kind, tmp_path):
    text = begun(tmp_path, SETS[kind]).text
    body = text[text.index("\nname:") :].splitlines()
    for place, line in enumerate(body):
        if line.startswith("  ") and not line.lstrip().startswith("#") and line[2] != " ":
            assert body[place - 1].startswith("  # "), line
    assert all(len(line) <= 120 for line in body)


def test_what_was_assumed_and_what_is_unsure_is_said_and_stands_at_the_top(tmp_path):
    files = dict(SETS["table"])
    files["metadata.jsonl"] = lines(
        *({**json.loads(row), "camera": f"c{at % 2}"} for at, row in enumerate(files["metadata.jsonl"].splitlines()))
    )
    started = begun(tmp_path, files)
    said = "\n".join(start.lines(started))
    assert "the values in 24 masks mean 0 background, 1 nut, 2 bolt" in said
    assert "task kind of type classification: 2 classes in column kind of 24 images: nut, bolt" in said
    assert "column camera is not learnt: it says the same as kind in other words" in said
    heading = started.text[: started.text.index("\nname:")]
    assert all(line.startswith("# ") for line in heading.splitlines())
    assert "column camera is not learnt" in heading


def test_columns_that_are_left_out_stand_there_to_be_taken_up(tmp_path):
    rows = [f"{place:03d}.png,{'ab'[place % 2]},{'wide' if place < 12 else 'tall'}" for place in range(24)]
    started = begun(tmp_path, {"m.csv": csv("file_name,label,source", *rows), **pictures("", 24)})
    assert list(started.experiment.tasks) == ["label"]
    assert "  # source: {type: classification}\n" in started.text
    taken = started.text.replace("  # source:", "  source:")
    assert set(load.parse(yaml.safe_load(taken), "x").tasks) == {"label", "source"}


def test_the_name_is_that_of_the_folder_or_the_one_given(tmp_path):
    assert begun(tmp_path / "My Parts (2)", SETS["folder"]).experiment.name == "my-parts-2"
    assert begun(tmp_path / "板", SETS["folder"]).experiment.name == "experiment"
    assert begun(tmp_path / "x", SETS["folder"], name="nuts").experiment.name == "nuts"
    with pytest.raises(ConfigError, match="name: String should match"):
        begun(tmp_path / "x", {}, name="Nuts & Bolts")


def test_strange_names_survive_the_yaml(tmp_path):
    names = ("yes", "a: b #c", '"q"\n', "板 ümlaut", "1e3", "{x}", "null")
    files = {f"{name}/{place}.png": b"" for name in names for place in range(4)}
    started = begun(tmp_path / "a: b, 'c' [d]", {name: next(iter(pictures("", 1).values())) for name in files})
    assert started.experiment.data.source.path == str(tmp_path / "a: b, 'c' [d]")


def test_a_split_that_cannot_be_kept_is_drawn_anew_and_told_of(tmp_path):
    rows = [f"{place:03d}.png,{'ab'[place % 2]},fold{place % 3}" for place in range(24)]
    started = begun(tmp_path, {"m.csv": csv("file_name,label,split", *rows), **pictures("", 24)})
    assert started.experiment.data.split.given is False
    assert any("the source says 'fold0'; only train, val, test are splits" in one for one in started.unsure)


def test_too_few_images_to_divide_are_told_of(tmp_path):
    started = begun(tmp_path, {**pictures("a", 1), **pictures("b", 1, start=1)})
    assert any("leave val and test empty" in one for one in started.unsure)


def test_a_table_without_anything_to_learn_is_refused_with_the_reasons(tmp_path):
    rows = [f"{place:03d}.png,{place}" for place in range(24)]
    with pytest.raises(DataError, match=r"no labels to learn \(number: 24 different values in 24 images"):
        begun(tmp_path, {"m.csv": csv("file_name,number", *rows), **pictures("", 24)})


def test_images_that_cannot_be_decoded_are_told_of(tmp_path):
    files = {**SETS["folder"], "nut/000.png": b"", "nut/002.png": b"x"}
    assert any("images that cannot be decoded: 2 of 24" in one for one in begun(tmp_path, files).unsure)


def test_no_file_is_replaced_unless_told_so(tmp_path, capsys):
    out = tmp_path / "deep" / "e.yaml"
    folder = write(tmp_path / "set", SETS["folder"])
    assert cli.run(["init", str(folder), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["experiment"] == str(out)
    assert told["settings"] == load.load(out).model_dump(mode="json")
    out.write_text("mine")
    assert cli.run(["init", str(folder), "--out", str(out)]) == 2
    assert "is not replaced without --force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert cli.run(["init", str(folder), "--out", str(out), "--force"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 class folders with 24 images, read as folder\nassumed:\n")
    assert load.load(out).name == "set"


def test_the_file_is_named_for_the_experiment_where_no_name_is_given(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["init", str(write(tmp_path / "set", SETS["folder"])), "--name", "nuts"]) == 0
    assert load.load("nuts.yaml").name == "nuts"


REAL = {
    "steel": {"defect": "classification", "defects": "detection", "mask": "segmentation"},
    "pets": {"breed": "classification", "species": "classification", "heads": "detection", "mask": "segmentation"},
    "blood": {"boxes": "detection"},
    "grocery": {"product": "classification", "category": "classification"},
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_recognised(name):
    root = os.environ.get("THAW_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"THAW_DATA names no folder with the data set {name}")
    started = start.start(str(Path(root) / name))
    experiment = started.experiment
    assert {task: options.type for task, options in experiment.tasks.items()} == REAL[name]
    source = prepare.open_source(experiment.data.source)
    references = list(prepare.checked(experiment, source.references()))
    some = references[:: len(references) // 20]
    found = list(check.examine(source, check.questions(experiment, some), Limits()))
    assert [one["reason"] for one in found] == [None] * len(found)
    assert np.mean([not one["set_aside"] for one in found]) > 0.9
