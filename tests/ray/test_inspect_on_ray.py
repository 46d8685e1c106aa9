"""Inspecting on Ray: the whole way from an experiment to a report, and how it ends."""

import json

import pytest

from planted_checks import plant
from thaw import cli
from thaw.config import load
from thaw.config.experiment import Weights
from thaw.data import dataset
from thaw.errors import ConfigError, DataError
from thaw.inspection import on_ray, pictures
from thaw.inspection.finding import Case, Finding
from thaw.inspection.gather import gather
from thaw.inspection.inspection import Inspection
from thaw.inspection.pictures import View
from thaw.storage import open_root
from thaw.training import on_ray as training
from tiny import changed


@pytest.fixture
def written(experiment, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(load.dump(experiment))
    return str(path)


def test_an_inspection_is_printed_and_kept_with_its_page(experiment, prepared, written, capsys):
    code = cli.run(["inspect", written, "--json"])
    told = json.loads(capsys.readouterr().out)
    page = told.pop("report")
    found = Inspection.model_validate(told)
    assert code == (1 if found.failed else 0)
    root = open_root(experiment.storage.root)
    assert root.read_json(f"{prepared.path}/inspection.json") == told
    assert page == f"{prepared.path}/report.html"
    assert root.read_bytes(page).startswith(b"<!DOCTYPE html>")
    assert found.without_vectors is None
    assert found.images == {split: prepared.rows(split) for split in ("train", "val", "test")}
    assert root.list(f"vectors/{prepared.name}-{prepared.fingerprint}")


def test_without_weights_the_inspection_goes_on_and_says_so(experiment, prepared, capsys):
    weights = Weights(source="path", path="/nowhere/weights.pth")
    missing = experiment.model_copy(update={"model": experiment.model.model_copy(update={"weights": weights})})
    found = on_ray.inspect(missing).inspection
    assert "is not a file that this node can read" in found.without_vectors
    assert "going on without vectors" in capsys.readouterr().err
    assert on_ray.inspect(experiment, with_vectors=False).inspection.without_vectors == "--no-vectors"


def test_a_gate_that_does_not_exist_is_refused_before_anything_is_done(experiment, written, capsys):
    with pytest.raises(ConfigError, match="data.allow: 'unheard_of' is not a gate"):
        on_ray.inspect(changed(experiment, data__allow=["unheard_of"]))
    assert cli.run(["inspect", written, "--allow", "unheard_of"]) == 2
    assert "--allow: 'unheard_of' is not a gate" in capsys.readouterr().err


def test_pictures_are_of_the_images_that_are_named_wherever_they_lie(experiment, prepared):
    root = open_root(experiment.storage.root)
    material = gather(root, experiment, prepared)
    ends = material.ids[0], material.ids[-1], "set-aside.png"
    finding = Finding(name="copies", level="note", told="", advice="", count=1, cases=(Case(images=ends),))
    found = on_ray.pictured(root, material, [finding])
    assert list(found) == [View(ends[0]), View(ends[1])]
    for image, place, row in ((ends[0], prepared.splits["train"][0], 0), (ends[1], prepared.splits["test"][-1], -1)):
        shard = dataset.read_shard(root, f"{prepared.path}/{place.file}")
        named, content, _ = dataset.encoded(shard, row)
        assert named == image
        [expected] = pictures.draw(content, (64, 64), {}, {}, [View(image)], experiment.data.limits)
        assert found[View(image)] == expected


def test_training_is_refused_by_a_gate_until_it_is_let_through(experiment, prepared, tmp_path, monkeypatch):
    plant(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'too_odd'"):
        training.train(changed(experiment, data__allow=["too_od"]), prepared)
    with pytest.raises(DataError, match=r"data\.allow=\[too_odd\]"):
        training.train(experiment, prepared)
    assert not [run for run in open_root(experiment.storage.root).list("runs") if "tiny" in run]
