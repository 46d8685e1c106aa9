"""Answering a folder on Ray: every image once, in parts, and only what is missing is answered again."""

import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

import stored as storing
from thaw import cli
from thaw.data.listing import key
from thaw.errors import ConfigError, DataError
from thaw.evaluation.predicting import on_ray as predicting
from thaw.evaluation.predicting.on_ray import Processes
from thaw.storage import open_root

pytestmark = pytest.mark.slow

IMAGES = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return storing.stored(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def images():
    """Name -> content of images, one that is none, and another file."""
    made = {f"{place % 3}/{place:03d}.png": storing.png(storing.image(place)) for place in range(IMAGES)}
    return {**made, "broken.jpg": b"no image", "notes.txt": b"passed over"}


@pytest.fixture
def folder(root, images):
    for name, content in images.items():
        root.at("incoming").write_bytes(name, content)
    return root.at("incoming")


def rows(out):
    return [row for file in out.glob("part*.parquet") for row in pq.read_table(file).to_pylist()]


def test_every_image_is_answered_once_and_what_is_there_is_left_alone(model, folder, tmp_path):
    out = tmp_path / "out"

    def predict():
        return predicting.predict(model.root.uri, model.reference, folder.uri, str(out), Processes())

    first = predict()
    assert (first.images, first.refused, first.passed_over) == (IMAGES + 1, {"not_an_image": 1}, 1)
    assert (first.parts_kept, first.parts > 1) == (0, True)
    written = rows(out)
    assert sorted(row["image"] for row in written) == sorted(
        name for name in folder.files_below("") if name != "notes.txt"
    )
    assert [row["image"] for row in written if row["refused"]] == ["broken.jpg"]
    assert all(set(json.loads(row["answers"])) == {"colour", "tags"} for row in written if row["answers"])
    assert open_root(str(out)).read_json(predicting.SUMMARY) == first.model_dump(mode="json")
    again = predict()
    assert (again.parts_kept, again.refused) == (first.parts, first.refused)
    folder.write_bytes("0/000.png", storing.png(storing.image(100)))
    folder.remove("1/001.png")
    changed = predict()
    apart = {part_of(out, name) for name in ("0/000.png", "1/001.png")}
    assert changed.images == IMAGES
    assert changed.parts - changed.parts_kept <= len(apart)
    assert sorted(row["image"] for row in rows(out)) == sorted(
        name for name in folder.files_below("") if name != "notes.txt"
    )


def part_of(out, name):
    """Return the part that an image is in by its key."""
    parts = [one.removeprefix("part").removesuffix(".parquet") for one in open_root(str(out)).list("")]
    return next((bits for bits in parts if f"{key(name):064b}".startswith(bits)), name)


def test_a_folder_without_images_and_answers_among_images_are_refused(model, tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        predicting.predict(model.root.uri, model.reference, str(tmp_path), str(tmp_path / "out"), Processes())
    with pytest.raises(ConfigError, match="is the folder of the images"):
        predicting.predict(model.root.uri, model.reference, str(tmp_path), str(tmp_path), Processes())


def test_too_many_unusable_images_end_with_1(model, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("no image")
    Image.new("RGB", (40, 40)).save(tmp_path / "images" / "b.png")
    command = ["predict", model.reference, str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    command += ["--storage", model.root.uri, "--json"]
    assert cli.run(command) == 0
    assert cli.run([*command, "--max-refused", "0.4"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["refused"] for one in told] == [{"not_an_image": 1}] * 2
    assert open_root(str(tmp_path / "out")).exists(predicting.SUMMARY)
