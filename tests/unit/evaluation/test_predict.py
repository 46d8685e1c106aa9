"""Answers for image files: every file is answered or refused, and pictures never overwrite each other."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thaw import bundle, cli
from thaw.config import load
from thaw.config.experiment import Limits
from thaw.data.labels import LabelSchema
from thaw.errors import ConfigError, DataError
from thaw.evaluation.predict import predict
from thaw.predictor import as_json
from thaw.registry import store
from thaw.storage import open_root


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A storage root with a model of all four kinds of task, tiny/1."""
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {
            "verdict": {"type": "classification"},
            "tags": {"type": "multilabel"},
            "things": {"type": "detection"},
            "ground": {"type": "segmentation"},
        },
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
    }
    labels = {
        "verdict": LabelSchema(kind="class", names=("no", "yes")),
        "tags": LabelSchema(kind="classes", names=("a", "b")),
        "things": LabelSchema(kind="boxes", names=("cup", "pen")),
        "ground": LabelSchema(kind="mask", names=("grass", "road")),
    }
    torch.manual_seed(0)
    folder, root = tmp_path_factory.mktemp("bundle"), tmp_path_factory.mktemp("root")
    bundle.create(load.parse(values, "test"), labels).save(folder)
    store.register(open_root(str(root)), "tiny", folder, store.Lineage(run_id="run", dataset_fingerprint="f00d"))
    return str(root)


@pytest.fixture
def images(tmp_path):
    """Five images, of which three have one name, in folders of their own, and one more file that is none."""
    random = np.random.default_rng(0)
    places = [tmp_path / name for name in ("one/a.png", "two/a.png", "three/A.bmp", "a-2.png", "b.png")]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(place)
    (tmp_path / "c.png").write_text("no image")
    return [*places, tmp_path / "c.png"]


def test_every_file_is_answered_or_refused(stored, images, tmp_path):
    found = predict(stored, "tiny/1", [*images, tmp_path / "none.png"], Limits())
    assert list(found.answers) == [str(image) for image in images[:-1]]
    assert list(found.refused) == [str(images[-1]), str(tmp_path / "none.png")]
    assert found.overlays == {}
    assert all(set(one) == {"verdict", "tags", "things", "ground"} for one in found.answers.values())


def test_each_image_gets_a_picture_of_its_own_whatever_its_name(stored, images, tmp_path):
    found = predict(stored, "tiny/1", [*images, images[0]], Limits(), tmp_path / "new" / "folder")
    assert list(found.overlays) == list(found.answers)
    written = sorted(Path(place).name for place in found.overlays.values())
    assert written == ["A-3.overlay.png", "a-2-2.overlay.png", "a-2.overlay.png", "a.overlay.png", "b.overlay.png"]
    assert written == sorted(file.name for file in (tmp_path / "new" / "folder").iterdir())
    for path, place in found.overlays.items():
        times = 480 // 40
        drawn = np.asarray(Image.open(place).convert("RGB"))[: 30 * times : times, : 40 * times : times]
        image = np.asarray(Image.open(path))
        assert np.mean((drawn == image).all(axis=2)) > 0.4, "the picture is of another image"


def test_pictures_of_the_same_images_again_take_the_place_of_the_first(stored, images, tmp_path):
    once = predict(stored, "tiny/1", images, Limits(), tmp_path / "folder").overlays
    assert predict(stored, "tiny/1", images, Limits(), tmp_path / "folder").overlays == once
    assert len(list((tmp_path / "folder").iterdir())) == len(once)


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_answered(stored, images):
    with pytest.raises(ConfigError, match=r"--overlay: .*b\.png is no folder to write to"):
        predict(stored, "tiny/1", images, Limits(), images[4])


def test_files_that_are_all_refused_are_an_error(stored, images):
    with pytest.raises(DataError, match=r"none of 1 images can be answered; the first: .*c\.png"):
        predict(stored, "tiny/1", images[-1:], Limits())


def test_the_command_tells_answers_refusals_and_pictures_in_lines_and_as_json(stored, images, tmp_path, capsys):
    command = ["predict", "tiny/1", str(images[4]), str(images[5]), "--storage", stored]
    drawn = ["--overlay", str(tmp_path / "drawn")]
    assert cli.run([*command, *drawn]) == 0
    answer, picture, refused = capsys.readouterr().out.splitlines()
    for part in (str(images[4]), "verdict: ", "tags: ", "things: ", "ground: "):
        assert part in answer
    assert picture.strip() == str(tmp_path / "drawn" / "b.overlay.png")
    assert refused.startswith(f"{images[5]}: refused: ")
    assert cli.run([*command, *drawn, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [given] = predict(stored, "tiny/1", images[4:], Limits()).answers.values()
    assert told["answers"] == {str(images[4]): as_json(given)}
    assert told["overlays"] == {str(images[4]): picture.strip()}
    assert list(told["refused"]) == [str(images[5])]
    assert cli.run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overlays"] == {}
